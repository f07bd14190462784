process.stdout.write('hadron\n');
