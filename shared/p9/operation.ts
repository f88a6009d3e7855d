import { DirectoryCursor } from './directory-cursor.ts';
import { p9Error } from './error-text.ts';
import type { FidTable } from './fid-table.ts';
import type { Access, FileSystem } from './filesystem.ts';
import type { MessageOf, ReplyNameFor, RequestName } from './messages.ts';
import { type Dialect, IO_HEADER_BYTES, type Qid } from './types.ts';

/** What a request may use: the negotiated session of its connection. */
export interface SessionState {
  readonly filesystem: FileSystem;
  readonly fids: FidTable;
  readonly dialect: Dialect;
  readonly msize: number;
}

/** Carries out one kind of request and gives its reply; what it throws becomes the error reply. */
export type Operation<N extends RequestName> = (
  state: SessionState,
  message: MessageOf<N>,
  signal: AbortSignal,
) => MessageOf<ReplyNameFor<N>> | Promise<MessageOf<ReplyNameFor<N>>>;

export type Operations = { readonly [N in RequestName]?: Operation<N> };

/** Opens what a fid names, in whatever dialect that was asked. */
export function openFid(state: SessionState, number: number, access: Access): { qid: Qid; iounit: number } {
  const node = state.fids.unopened(number);
  if (node.kind === 'directory') {
    if (access.write || access.truncate) throw p9Error('Is a directory');
    state.fids.replace(number, { kind: 'directory', node, cursor: new DirectoryCursor(node) });
  } else {
    if (access.truncate && !access.write) throw p9Error('permission denied');
    state.fids.replace(number, { kind: 'file', node, file: node.open(access), access });
  }
  return { qid: node.qid, iounit: state.msize - IO_HEADER_BYTES };
}
