/**
 * To which addresses events may be pushed. A sink is a URL that somebody wrote into a document; without this, it would make
 * the server send requests inside the network it stands in.
 *
 * What is checked is the address that is connected to, not the name: the check is the name's resolution itself (`lookup`), so
 * that a name which answers differently the second time gains nothing.
 */
import { lookup as systemLookup, type LookupAddress } from 'node:dns';
import { BlockList, isIP, isIPv6, type LookupFunction } from 'node:net';

export type AddressPolicy = (address: string) => boolean;

/** Resolves a name to all its addresses. */
export type Resolve = (
  hostname: string,
  /** Node gives no addresses with an error. */
  done: (error: Error | null, addresses?: readonly LookupAddress[]) => void,
) => void;

/** The sink has no address to which anything may be sent. */
export class AddressRefused extends Error {
  override readonly name = 'AddressRefused';

  constructor(host: string, addresses: readonly string[]) {
    const found = addresses.length === 1 && addresses[0] === host ? host : `${host} is ${addresses.join(', ')} and`;
    super(`${found} lies in a loopback, link-local, private or reserved network, where nothing is pushed to`);
  }
}

export const anyAddress: AddressPolicy = () => true;

/** IPv4 beyond these is public. */
const RESERVED_4 = blocked('ipv4', [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10], // carrier-grade NAT
  ['127.0.0.0', 8],
  ['169.254.0.0', 16], // link-local; the metadata services of clouds
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4], // multicast
  ['240.0.0.0', 4], // reserved, broadcast
]);

/** IPv6: only global unicast is public, and of it not what carries or tunnels another address. */
const GLOBAL_6 = blocked('ipv6', [['2000::', 3]]);
const RESERVED_6 = blocked('ipv6', [
  ['2001::', 23], // Teredo and other protocol assignments
  ['2001:db8::', 32],
  ['2002::', 16], // 6to4
  ['3fff::', 20],
]);

/** The default: the public internet. */
export const publicOnly: AddressPolicy = (address) => {
  const bare = address.split('%', 1)[0]!; // fe80::1%eth0
  if (isIPv6(bare)) {
    // Embedded IPv4 (::ffff:…, 64:ff9b::…) lies outside of 2000::/3. Asked in this order: BlockList reads ::ffff: as IPv4.
    return GLOBAL_6.check(bare, 'ipv6') && !RESERVED_6.check(bare, 'ipv6');
  }
  return isIP(bare) === 4 && !RESERVED_4.check(bare, 'ipv4');
};

export const systemResolve: Resolve = (hostname, done) => systemLookup(hostname, { all: true }, done);

/** The `lookup` of a connection: hands out addresses that the policy allows, and no others. */
export function guardedLookup(policy: AddressPolicy, resolve: Resolve): LookupFunction {
  return (hostname, options, done) => {
    resolve(hostname, (error, addresses = []) => {
      const family = options.family === 4 || options.family === 6 ? options.family : 0;
      const allowed = addresses.filter((one) => (family === 0 || one.family === family) && policy(one.address));
      const [first] = allowed;
      if (error !== null) done(error, '', 0);
      else if (first === undefined) {
        done(
          new AddressRefused(
            hostname,
            addresses.map((one) => one.address),
          ),
          '',
          0,
        );
      } else if (options.all === true) done(null, [...allowed]);
      else done(null, first.address, first.family);
    });
  };
}

/** Names go through {@link guardedLookup}; an address in the URL is never looked up, so it is asked for here. */
export function refuseLiteral(host: string, policy: AddressPolicy): void {
  const bare = host.replace(/^\[(.*)\]$/, '$1');
  if (isIP(bare) !== 0 && !policy(bare)) throw new AddressRefused(bare, [bare]);
}

function blocked(family: 'ipv4' | 'ipv6', networks: readonly (readonly [string, number])[]): BlockList {
  const list = new BlockList();
  for (const [network, prefix] of networks) list.addSubnet(network, prefix, family);
  return list;
}
