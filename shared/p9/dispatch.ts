import { p9Error } from './error-text.ts';
import type { Message, Reply, RequestName } from './messages.ts';
import type { Operation, Operations, SessionState } from './operation.ts';
import { CLASSIC_OPERATIONS } from './operations-classic.ts';
import { COMMON_OPERATIONS } from './operations-common.ts';
import { LINUX_OPERATIONS } from './operations-linux.ts';

/**
 * All requests that act on fids. The decoder lets through only what the dialect has, so one table serves all three.
 * Tversion and Tflush are about the session itself and are not here.
 */
const OPERATIONS: Operations = { ...COMMON_OPERATIONS, ...CLASSIC_OPERATIONS, ...LINUX_OPERATIONS };

/**
 * Carries out one request on the session's fids and its filesystem.
 * Everything that needs no waiting has happened when this returns; a promise only where something is waited for.
 */
export function dispatch(state: SessionState, message: Message, signal: AbortSignal): Reply | Promise<Reply> {
  const operation = OPERATIONS[message.type as RequestName] as Operation<RequestName> | undefined;
  if (operation === undefined) throw p9Error('Operation not supported');
  return operation(state, message as never, signal) as Reply | Promise<Reply>;
}
