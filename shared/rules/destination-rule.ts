/**
 * What may be dialled: `CIDR`, `CIDR:PORTS` (`[CIDR]:PORTS` where it is IPv6) for TCP and UDP, `unix:DIR` for unix
 * sockets in a directory or below it. The policy of the host agent and the VM shim's own one are written in it.
 */
import type { Destination } from '../destination.ts';
import { BridgeError, messageOf } from '../errors.ts';
import type { PortRange } from '../port-range.ts';
import { type Cidr, cidrHas, parseCidr } from './cidr.ts';
import { ALL_PORTS, parsePortRule } from './port-rule.ts';
import { checkDirectory, isBelow } from './unix-directory.ts';

export type DestinationRule =
  | { readonly kind: 'inet'; readonly cidr: Cidr; readonly ports: PortRange }
  | { readonly kind: 'unix'; readonly directory: string };

/** @throws BridgeError BAD_REQUEST with the forms that it may have */
export function parseDestinationRule(text: string): DestinationRule {
  try {
    if (text.startsWith('unix:')) return { kind: 'unix', directory: checkDirectory(text.slice(5)) };
    const bracketed = /^\[([^\]]*)\](?::(.*))?$/.exec(text);
    // IPv6 without brackets has no ports.
    const plain = bracketed ?? (text.split(':').length === 2 ? /^([^:]*):(.*)$/.exec(text) : [text, text]);
    const ports = plain?.[2];
    const cidr = parseCidr(plain?.[1] ?? '');
    return { kind: 'inet', cidr, ports: ports === undefined ? ALL_PORTS : parsePortRule(ports) };
  } catch (error) {
    throw new BridgeError(
      'BAD_REQUEST',
      `destination ${JSON.stringify(text)}: ${messageOf(error)}; it is CIDR, CIDR:PORTS, [CIDR]:PORTS or unix:DIR`,
      { cause: error },
    );
  }
}

/** Whether one of the rules allows it. Of a unix path only the text counts: `..` is nowhere allowed. */
export function destinationAllowed(rules: readonly DestinationRule[], destination: Destination): boolean {
  if (destination.protocol === 'unix')
    return rules.some((rule) => rule.kind === 'unix' && isBelow(rule.directory, destination.path));
  const { ip, port } = destination;
  return rules.some(
    (rule) =>
      rule.kind === 'inet' && rule.ports.first <= port && port <= rule.ports.last && cidrHas(rule.cidr, ip),
  );
}
