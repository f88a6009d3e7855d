/** The tables of /proc/net, as net/ipv4/tcp_ipv4.c, net/ipv4/udp.c, net/ipv6 and net/unix/af_unix.c print them (proc(5)). */
import { endianness } from 'node:os';
import { ipFromBytes } from '../../ip.ts';

/** TCP_LISTEN, TCP_TIME_WAIT (include/net/tcp_states.h). */
const LISTEN = 0x0a;
const TIME_WAIT = 0x06;

/** A socket with a local port. */
export interface SocketRow {
  readonly ip: string;
  readonly port: number;
  readonly listens: boolean;
  readonly uid: number;
  readonly inode: string;
}

const ROW =
  /^\s*\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]{2}) \S+ \S+ \S+\s+(\d+)\s+\d+ (\d+)/;

/** Sockets of /proc/net/{tcp,tcp6,udp,udp6} at one port. Those in TIME_WAIT hold no port against us and are left out. */
export function parseProcNet(text: string, port: number): SocketRow[] {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')} `;
  const rows: SocketRow[] = [];
  for (const line of text.split('\n')) {
    if (!line.includes(wanted)) continue;
    const match = ROW.exec(line);
    if (match === null || Number.parseInt(match[2]!, 16) !== port) continue;
    const state = Number.parseInt(match[3]!, 16);
    if (state === TIME_WAIT) continue;
    rows.push({
      ip: ipFromBytes(hostOrder(match[1]!)),
      port,
      listens: state === LISTEN,
      uid: Number(match[4]),
      inode: match[5]!,
    });
  }
  return rows;
}

/** The inode of the socket that is bound to a path, by /proc/net/unix. */
export function parseProcUnix(text: string, path: string): string | undefined {
  for (const line of text.split('\n')) {
    // Num: RefCount Protocol Flags Type St Inode Path
    const match = /^\S+: \S+ \S+ \S+ \S+ \S+\s+(\d+) (.*)$/.exec(line);
    if (match !== null && match[2] === path) return match[1];
  }
  return undefined;
}

/** Each group of 32 bits is printed as the number that the machine takes it for. */
function hostOrder(hex: string): Buffer {
  const bytes = Buffer.from(hex, 'hex');
  return endianness() === 'LE' ? bytes.swap32() : bytes;
}
