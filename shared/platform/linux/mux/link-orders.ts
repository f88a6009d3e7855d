/** What the main thread and a worker say to each other about links whose sessions live in workers. */
import type { ErrorCode } from '../../../errors.ts';
import type { SessionSettings } from '../../../link/session-settings.ts';
import type { SocketOrder, SocketReport } from './socket-orders.ts';

/** What a message to the main thread takes besides its payload, about, bytes. */
export const MESSAGE_BYTES = 256;

/** Main thread to worker. Descriptors that are named are the worker's from then on. */
export type LinkOrder =
  | SocketOrder
  /** `early` was read from the stream already. */
  | {
      readonly type: 'link';
      readonly link: number;
      readonly fd: number;
      readonly early: Uint8Array;
      readonly settings: SessionSettings;
    }
  | { readonly type: 'link-control'; readonly link: number; readonly payload: Uint8Array }
  | {
      readonly type: 'link-stream-reset';
      readonly link: number;
      readonly streamId: number;
      readonly errno: number;
    }
  /** `bytes` of reports are done with, so that as many more may be sent. */
  | { readonly type: 'link-dealt-with'; readonly link: number; readonly bytes: number }
  | { readonly type: 'link-heartbeat'; readonly link: number; readonly intervalMs: number }
  | { readonly type: 'link-close'; readonly link: number };

/** Worker to main thread. What carries `bytes` is answered with as many in `link-dealt-with`. */
export type LinkReport =
  | SocketReport
  | {
      readonly type: 'link-control';
      readonly link: number;
      readonly payload: Uint8Array;
      readonly bytes: number;
    }
  | {
      readonly type: 'link-stream-reset';
      readonly link: number;
      readonly streamId: number;
      readonly errno: number;
      readonly bytes: number;
    }
  | { readonly type: 'link-rtt'; readonly link: number; readonly ms: number }
  /** `lately` is what happened before the peer broke the protocol. */
  | {
      readonly type: 'link-over';
      readonly link: number;
      readonly code: ErrorCode;
      readonly message: string;
      readonly lately: readonly string[];
    };
