import { fileURLToPath } from 'node:url';
import type { ProcessGroup } from '../process-group.ts';

/** Where a peer has to forward, and what it may use. */
export interface Place {
  /** TCP and UDP port of 127.0.0.1 that clients come to. */
  readonly front: number;
  /** Where the backend is. */
  readonly back: number;
  /** A directory of its own. */
  readonly dir: string;
  readonly processes: ProcessGroup;
  readonly signal: AbortSignal;
}

/** Ports that are published while they are measured. */
export interface PublishedPorts {
  /** One of them, which leads to the backend. */
  readonly port: number;
  remove(): Promise<void>;
}

/** A forwarder that publishes ports while it runs. */
export interface Publisher {
  /** Publishes so many by one request. */
  range(count: number): Promise<PublishedPorts>;
  /** Publishes so many by a request for each, one after the other. */
  each(count: number): Promise<PublishedPorts>;
}

/** A forwarder that is measured. */
export interface Peer {
  readonly name: string;
  /** What it is, for the page. */
  readonly what: string;
  /** Times that a byte passes a process between client and backend. */
  readonly hops: number;
  readonly udp: boolean;
  /** Measures that it takes part in; all of them unless given. */
  readonly measures?: readonly string[];
  /** The program that it is, and the Debian package of that. */
  readonly program?: { readonly name: string; readonly debian: string };
  /** Why it cannot run here although its program is there; undefined when it can. */
  refuses?(): string | undefined;
  /** It runs the backend itself, in a network namespace of its own. `samePort`: at the number of the front port. */
  readonly namespace?: { readonly samePort: boolean };
  /** How ports are published, where that is measured. */
  publisher?(place: Place): Publisher;
  /** Starts it; whether it serves is found out by asking the front port. */
  start(place: Place): Promise<void> | void;
}

export const BACKEND = fileURLToPath(new URL('../load/backend.js', import.meta.url));
