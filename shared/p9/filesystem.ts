/**
 * What the 9P server needs of a filesystem. Names and attributes are answered at once: whatever a message changes is changed
 * when the next one is looked at, so pipelined requests need no locks. Only data, removal and closing may wait.
 *
 * Errors are BridgeErrors; their errno decides what the client sees (see error-text.ts). An operation that was
 * given a signal settles soon after it aborts: a Tflush and the end of a connection wait for that. If it could
 * still be undone it rejects, otherwise it resolves as usual and the client is told so.
 */
import type { Qid } from './types.ts';

export interface FileSystem {
  /**
   * The root that one connection sees.
   * @param user who asks, as the client says; nothing proves it
   * @param tree which tree is wanted; Linux sends what its mount option `aname` says, by default nothing or `/`
   */
  attach(user: string, tree: string): Directory;
}

export interface Attributes {
  /** Last path element; `/` for the root. */
  readonly name: string;
  /** The nine permission bits. */
  readonly permissions: number;
  readonly size: number;
  /** Milliseconds since 1970. */
  readonly modified: number;
}

/** What a client wants changed about a node; absent means left as it is. */
export interface Changes {
  readonly name?: string;
  readonly permissions?: number;
  readonly owner?: boolean;
  readonly size?: number;
}

interface NodeBase {
  /** `path` is never used again for another node. */
  readonly qid: Qid;
  attributes(): Attributes;
  /** Refuses what cannot be changed. No change at all (what fsync sends in 9P2000) and new times always pass. */
  change(changes: Changes): void;
  /** Takes the node out of its directory. */
  remove(signal: AbortSignal): Promise<void>;
}

export interface Directory extends NodeBase {
  readonly kind: 'directory';
  /** One step; `..` goes up and stays at the root. */
  walk(name: string): Node;
  /** The children whose paths are above `after` (0: all), by path, each made when it is asked for; asked for at once. */
  list(after: bigint): Iterable<Node>;
  makeDirectory(name: string): Directory;
}

export interface File extends NodeBase {
  readonly kind: 'file';
  open(access: Access): OpenFile;
}

export type Node = Directory | File;

export interface Access {
  readonly read: boolean;
  readonly write: boolean;
  readonly truncate: boolean;
}

/** One fid that was opened. The server has checked that it was opened for what it is used for. */
export interface OpenFile {
  /** At most `count` bytes; none at or after the end. */
  read(offset: number, count: number, signal: AbortSignal): Promise<Uint8Array>;
  /** How many bytes were taken. `data` is a view that the caller may use again. */
  write(offset: number, data: Uint8Array, signal: AbortSignal): Promise<number>;
  /** The fid is gone: clunked, removed, or its connection lost. Called once, also while a read or write is under way. */
  close(): Promise<void>;
}
