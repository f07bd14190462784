/** The clients of the original Hadron: README.md is the map. */
export { OriginalDoor } from './door.ts';
