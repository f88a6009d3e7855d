/** What the tools of Windows print. Their words are translated, so only numbers and shapes are read. */
import { canonicalIp } from '../../ip.ts';

export interface NetstatRow {
  readonly protocol: 'tcp' | 'udp';
  readonly ip: string;
  readonly port: number;
  readonly pid: number;
  readonly listens: boolean;
}

/** `netstat -ano`: protocol, local address, foreign address, state (TCP only), process id. */
export function parseNetstat(text: string): NetstatRow[] {
  const rows: NetstatRow[] = [];
  for (const line of text.split(/\r?\n/)) {
    const match = /^\s*(TCP|UDP)\s+(?:\[(.+?)\]|([\d.]+)):(\d+)\s+(\S+)(?:\s+\S.*?)?\s+(\d+)\s*$/.exec(line);
    if (match === null) continue;
    const ip = canonicalIp(match[2] ?? match[3]!);
    if (ip === undefined) continue;
    rows.push({
      protocol: match[1] === 'TCP' ? 'tcp' : 'udp',
      ip,
      port: Number(match[4]),
      pid: Number(match[6]),
      listens: match[1] === 'TCP' && /:0$/.test(match[5]!),
    });
  }
  return rows;
}

/** `tasklist /fi "PID eq N" /fo csv /nh`: the name of the program is the first field. */
export function parseTasklist(text: string, pid: number): string | undefined {
  const match = /^"([^"]+)","(\d+)"/m.exec(text);
  return match !== null && Number(match[2]) === pid ? match[1] : undefined;
}

export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** `netsh interface ipv4 show excludedportrange protocol=tcp`: two numbers a line, `*` behind those that somebody set. */
export function parseExcludedRanges(text: string): PortRange[] {
  const ranges: PortRange[] = [];
  for (const line of text.split(/\r?\n/)) {
    const match = /^\s*(\d{1,5})\s+(\d{1,5})\s*\*?\s*$/.exec(line);
    if (match !== null) ranges.push({ first: Number(match[1]), last: Number(match[2]) });
  }
  return ranges;
}
