import { messageOf, textWithCode } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { PortClaim, PortDoor } from './door.ts';

export type Outcome =
  | { readonly kind: 'granted'; readonly claim: PortClaim }
  /** The message ends with the code of the error, in brackets. */
  | { readonly kind: 'refused'; readonly message: string }
  | { readonly kind: 'late' }
  | { readonly kind: 'cancelled' };

export interface AttemptOptions {
  readonly door: PortDoor;
  readonly spec: string;
  readonly timeoutMs: number;
  /** Ends the attempt; it is honoured whatever the door does. */
  readonly cancel: AbortSignal;
  readonly log: Logger;
  /** Hears the outcome in the moment it is decided, so that nothing can come between. */
  onOutcome(outcome: Outcome): void;
}

export interface Attempt {
  /** Settles within the time allowed, or at once when cancelled. */
  readonly outcome: Promise<Outcome>;
  /** The door is through with it, and what it granted too late is released. */
  readonly finished: Promise<void>;
}

/**
 * Asks a door once and never waits longer than `timeoutMs`, because a process blocked in a 9P read or write cannot be
 * interrupted. Exactly one outcome comes of it, and a claim is either in the outcome or released.
 */
export function attemptClaim({ door, spec, timeoutMs, cancel, log, onOutcome }: AttemptOptions): Attempt {
  if (cancel.aborted) {
    onOutcome({ kind: 'cancelled' });
    return { outcome: Promise.resolve({ kind: 'cancelled' }), finished: Promise.resolve() };
  }
  const controller = new AbortController();
  let decided = false;
  let resolveOutcome: (outcome: Outcome) => void = () => {};
  const outcome = new Promise<Outcome>((resolve) => {
    resolveOutcome = resolve;
  });
  const decide = (result: Outcome) => {
    if (decided) return;
    decided = true;
    clearTimeout(timer);
    cancel.removeEventListener('abort', onCancel);
    onOutcome(result);
    resolveOutcome(result);
    // Not after a grant: the door may have tied the listener to this signal.
    if (result.kind === 'late' || result.kind === 'cancelled') controller.abort();
  };
  const onCancel = () => decide({ kind: 'cancelled' });
  const timer = setTimeout(() => decide({ kind: 'late' }), timeoutMs);
  timer.unref();
  cancel.addEventListener('abort', onCancel);

  const finished = ask(door, spec, controller.signal).then(
    async (claim) => {
      if (!decided) return decide({ kind: 'granted', claim });
      log.info({ spec }, 'a claim was granted after nobody waited for it any more: releasing it');
      await claim.release({ now: true });
    },
    (error: unknown) => decide({ kind: 'refused', message: textWithCode(error) }),
  );
  return {
    outcome,
    finished: finished.catch((error: unknown) => {
      log.error({ err: error, spec }, `releasing a late claim failed: ${messageOf(error)}`);
    }),
  };
}

/** A door that throws instead of rejecting is no exception. */
async function ask(door: PortDoor, spec: string, signal: AbortSignal): Promise<PortClaim> {
  return door.claim(spec, signal);
}
