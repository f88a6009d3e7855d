import { ERRNO, errnoName } from '../../errors.ts';
import type { LimitLog } from '../../limit.ts';
import type { Timed } from './deadlines.ts';
import type { Reactor } from './reactor.ts';

/** How long nobody is accepted when descriptors or memory have run out, milliseconds. */
const PAUSE_MS = 100;
/** There are enough again when none have been missed for so long, milliseconds. */
const RECOVERED_MS = 2_000;

/** What an administrator raises, where that helps. */
const LIMITED_BY = new Map<number, string>([
  [ERRNO.EMFILE, ' (see ulimit -n)'],
  [ERRNO.ENFILE, ' (see sysctl fs.file-max)'],
  [ERRNO.ENOSPC, ' (see sysctl fs.epoll.max_user_watches)'],
]);

export interface AcceptPauseOptions {
  readonly reactor: Reactor;
  readonly log: LimitLog;
  /** Whose clients they are, for the log. */
  readonly fields: Record<string, unknown>;
  /** Accepts nobody from now on. */
  readonly pause: () => void;
  /** Accepts again. */
  readonly resume: () => void;
}

/**
 * A listener at which nobody is accepted for a moment, because descriptors or memory have run out (EMFILE, ENFILE,
 * ENOBUFS, ENOMEM, ENOSPC): clients wait in the kernel's queue until others have gone. One line in the log says so, and one that it
 * is over, for all listeners of the process (Shortage).
 */
export class AcceptPause implements Timed {
  private readonly options: AcceptPauseOptions;
  private state: 'accepting' | 'paused' | 'recovering' = 'accepting';
  private pauses = 0;
  private lastMissed = 0;

  constructor(options: AcceptPauseOptions) {
    this.options = options;
  }

  /** Nobody is to be accepted now; `resume` follows. */
  get isPaused(): boolean {
    return this.state === 'paused';
  }

  /** Something could not be had. */
  begin(errno: number): void {
    const { reactor, log, fields, pause } = this.options;
    this.lastMissed = reactor.now;
    if (this.isPaused) return;
    reactor.pipes.closeIdle();
    pause();
    const begins = this.pauses++ === 0;
    if (begins && reactor.shortage.begin())
      log.warn(
        { ...fields, errno: errnoName(errno) },
        `out of descriptors or memory (${errnoName(errno)}): clients wait until others have gone${LIMITED_BY.get(errno) ?? ''}`,
      );
    // A recovery that was being waited for has its place in the list: it finds that it is too early.
    if (this.state === 'accepting') reactor.deadlinesOf(PAUSE_MS).add(this, reactor.now);
    this.state = 'paused';
  }

  expired(): void {
    const { reactor, log, fields, resume } = this.options;
    if (this.isPaused) {
      this.state = 'recovering';
      resume();
    }
    if (reactor.now - this.lastMissed < RECOVERED_MS) {
      reactor.deadlinesOf(PAUSE_MS).add(this, reactor.now);
      return;
    }
    this.state = 'accepting';
    const { pauses } = this;
    this.pauses = 0;
    if (reactor.shortage.end()) log.warn({ ...fields, pauses }, 'there are descriptors and memory again');
  }
}
