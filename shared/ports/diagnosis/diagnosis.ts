/** Who has a port and why it cannot be had, as far as the system tells: bounded, and never an error itself. */
import type { HostPlace } from '../../errors.ts';

/** A port that was asked for; 0.0.0.0 and :: stand for every address of their family. */
export type WantedPort = Exclude<HostPlace, { protocol: 'unix' }>;

/** Who has it. */
export interface Holder {
  /** What it holds: `0.0.0.0:80`, `[::]:80`, or a path. */
  readonly where: string;
  /** Undefined when the system does not say, or only to another user. */
  readonly process: { readonly pid: number; readonly command: string } | undefined;
  /** The number of its user, where that is all there is. */
  readonly user: number | undefined;
}

/** A TCP socket that listens. */
export interface TcpListener {
  /** Canonical; a `::` may take IPv4 as well. */
  readonly ip: string;
  readonly port: number;
  readonly pid: number;
}

/** What one system tells. */
export interface PortDiagnosis {
  /** Asked after a refusal only. */
  findHolder(wanted: HostPlace): Promise<Holder | undefined>;
  /** Why the system denies it, and what would help: a text for people, or undefined. */
  whyDenied(wanted: WantedPort): Promise<string | undefined>;
  /** Every one that this user may see, none when the system does not say: for systems that let them overlap. */
  tcpListeners?(): Promise<TcpListener[]>;
}

/** Names come from other processes: one line of printable ASCII, no longer than a name is. */
export function plainName(name: string): string {
  return name.replace(/[^\x20-\x7e]/g, '?').slice(0, 64);
}
