import { BridgeError } from '../errors.ts';
import type { PortRange } from '../port-range.ts';

export const ALL_PORTS: PortRange = { first: 1, last: 65_535 };

/** Reads `80` or `8000-8099`. @throws BridgeError BAD_REQUEST */
export function parsePortRule(text: string): PortRange {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (match === null || first < 1 || last < first || last > 65_535)
    throw new BridgeError(
      'BAD_REQUEST',
      `${JSON.stringify(text)} is neither a port nor a range such as 8000-8099, from 1 to 65535`,
    );
  return { first, last };
}

/** Whether one of the rules has all these ports. */
export function portsAllowed(rules: readonly PortRange[], { first, last }: PortRange): boolean {
  return rules.some((rule) => rule.first <= first && last <= rule.last);
}

/** The ports that two have in common, if any. */
export function commonPorts(a: PortRange, b: PortRange): PortRange | undefined {
  const [first, last] = [Math.max(a.first, b.first), Math.min(a.last, b.last)];
  return first <= last ? { first, last } : undefined;
}
