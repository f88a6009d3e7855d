/**
 * The reverse forwards of one VM. The shim opens their ports: it is told all that are wanted on every new link and after
 * every change, and answers for each. While there is no link it keeps them open for a while, so they outlive a short loss.
 */
import type { Destination } from '../../shared/destination.ts';
import { BridgeError, ERRNO, type ErrorCode } from '../../shared/errors.ts';
import type { Link } from '../../shared/link/link.ts';
import type { OpenedChannel } from '../../shared/link/linked-socket.ts';
import type { Logger } from '../../shared/logger.ts';
import { MAX_REVERSE, type ReverseMessage } from '../../shared/reverse-messages.ts';
import {
  describePlace,
  formatReverseSpec,
  type Place,
  parseReverseSpec,
  type ReverseSpec,
} from '../../shared/reverse-spec.ts';
import type { DataLimits, Forward } from '../data/forward.ts';
import { ReverseExit } from '../data/reverse-exit.ts';
import { isInTheWay } from './conflict.ts';

/** How long a request waits for the shim's answer, milliseconds. */
const ANSWER_MS = 10_000;
/** What the shim could not open again is asked for after this, milliseconds. */
const RETRY_MS = 5_000;
const NO_LINK = 'no link';

/** What is needed of a link. */
export type ReverseLink = Pick<Link, 'has' | 'send'>;

export interface ReverseForwardsOptions {
  readonly vm: string;
  readonly limits: DataLimits;
  /** What is to be dialled for a service of the host. @throws BridgeError POLICY_DENIED */
  readonly admit: (service: Place) => Place;
  /** The link, waiting a few seconds for one that is down. @throws BridgeError NO_LINK or CANCELLED */
  readonly whenUp: () => Promise<{ readonly link: ReverseLink }>;
  readonly log: Logger;
  readonly answerMs?: number;
  readonly retryMs?: number;
}

class Wanted {
  readonly id: number;
  /** With its port resolved as soon as it has one. */
  spec: ReverseSpec;
  /** Why it is not open now. */
  trouble: BridgeError | undefined;
  /** Settles the request, as long as it waits. */
  answered: ((error?: BridgeError) => void) | undefined;
  private readonly makeExit: (name: string) => ReverseExit;
  private made: ReverseExit | undefined;

  constructor(id: number, spec: ReverseSpec, makeExit: (name: string) => ReverseExit) {
    this.id = id;
    this.spec = spec;
    this.makeExit = makeExit;
  }

  /** Made for its first client, or when somebody asks: logs call it by the port that it has by then. */
  get exit(): ReverseExit {
    this.made ??= this.makeExit(formatReverseSpec(this.spec));
    return this.made;
  }
}

export class ReverseForwards {
  private readonly options: ReverseForwardsOptions;
  private readonly wanted = new Map<number, Wanted>();
  private link: ReverseLink | undefined;
  /** What all are in while `link` is undefined. */
  private down = NO_LINK;
  private last = 0;
  private retry: NodeJS.Timeout | undefined;
  private saying: NodeJS.Immediate | undefined;
  private closed = false;
  /** Channels for what nobody published. */
  private strangers = 0;

  constructor(options: ReverseForwardsOptions) {
    this.options = options;
  }

  /**
   * Has the shim open it.
   * @throws BridgeError NO_LINK, UNSUPPORTED, LIMIT_REACHED, TIMEOUT, or what the shim says
   */
  async open(spec: ReverseSpec): Promise<{ resolved: ReverseSpec; forward: Forward }> {
    const { vm, admit, limits, log, whenUp, answerMs = ANSWER_MS } = this.options;
    const { link } = await whenUp();
    if (!link.has('reverse')) throw this.unsupported();
    if (this.wanted.size >= MAX_REVERSE)
      throw new BridgeError(
        'LIMIT_REACHED',
        `VM "${vm}" has ${MAX_REVERSE} reverse forwards, the most there may be`,
      );
    const service = () => admit(spec.host);
    const makeExit = (name: string) => new ReverseExit({ name, service, limits, log });
    const wanted = new Wanted(++this.last, spec, makeExit);
    this.wanted.set(wanted.id, wanted);
    const error = await new Promise<BridgeError | undefined>((resolve) => {
      const late = new BridgeError('TIMEOUT', `the VM shim did not answer within ${answerMs / 1000} s`);
      const timer = setTimeout(() => resolve(late), answerMs);
      wanted.answered = (error) => {
        clearTimeout(timer);
        resolve(error);
      };
      this.say();
    });
    wanted.answered = undefined;
    if (error !== undefined) {
      this.remove(wanted);
      throw error;
    }
    return { resolved: wanted.spec, forward: this.forwardOf(wanted) };
  }

  /** A link is up; it takes the place of any other. */
  linkUp(link: ReverseLink): void {
    if (this.closed) return;
    if (!link.has('reverse')) {
      const error = this.unsupported();
      const { vm, log } = this.options;
      if (this.wanted.size > 0) log.warn({ vm }, `reverse forwards are down: ${error.message}`);
      this.giveUp(error, `not open: ${error.message}`);
      return;
    }
    this.link = link;
    this.say();
  }

  /** The link is down and no other is up. */
  linkDown(): void {
    this.giveUp(new BridgeError('LINK_LOST', 'the link went down before the VM shim had answered'));
  }

  /** The shim answers. */
  take(message: ReverseMessage): void {
    if (message.type === 'reverse') throw new BridgeError('PROTOCOL', 'the shim wants reverse forwards');
    const wanted = this.wanted.get(message.id);
    if (wanted === undefined) return; // it was removed meanwhile
    if (message.type === 'reversed') this.opened(wanted, message.spec);
    else this.refused(wanted, this.explained(wanted, message.code, message.text));
  }

  /** The shim has opened a channel for a client. */
  serve(channel: OpenedChannel): void {
    if (this.closed) return channel.refuse(stopping());
    const { details, destination } = channel;
    const wanted = this.wanted.get(details.reverse ?? 0);
    if (wanted !== undefined && isSame(wanted.spec.host, destination)) return wanted.exit.serve(channel);
    if (this.strangers++ === 0)
      this.options.log.warn(
        { vm: this.options.vm },
        'the VM wants to reach something on the host that is not published in it: refused, and not logged again',
      );
    const denied = new BridgeError('POLICY_DENIED', 'not published in the VM', { errno: ERRNO.EPERM });
    channel.refuse(denied);
  }

  /** Says no more to the shim, which keeps what is open for the next host agent; connections go on. */
  close(): void {
    this.closed = true;
    clearTimeout(this.retry);
    this.giveUp(stopping());
  }

  private giveUp(reason: BridgeError, down = NO_LINK): void {
    this.link = undefined;
    this.down = down;
    for (const { answered } of this.wanted.values()) answered?.(reason);
  }

  private opened(wanted: Wanted, text: string): void {
    const spec = parseReverseSpec(text);
    if (!isSame(spec.host, wanted.spec.host))
      throw new BridgeError('PROTOCOL', `the shim opened ${text} for ${formatReverseSpec(wanted.spec)}`);
    wanted.spec = spec;
    if (wanted.trouble !== undefined) {
      const { vm, log } = this.options;
      log.info({ vm, spec: text }, `open after all; it was not because ${wanted.trouble.message}`);
    }
    wanted.trouble = undefined;
    wanted.answered?.();
  }

  /** The shim can tell only that it has the port itself. */
  private explained(wanted: Wanted, code: ErrorCode, text: string): BridgeError {
    const isHolder = (each: Wanted): boolean =>
      each !== wanted &&
      each.answered === undefined &&
      each.trouble === undefined &&
      isInTheWay(each.spec.vm, wanted.spec.vm);
    const holder = code === 'PORT_IN_USE' ? [...this.wanted.values()].find(isHolder) : undefined;
    const who = holder === undefined ? '' : `; it is open for ${formatReverseSpec(holder.spec)}`;
    return new BridgeError(code, `in the VM: ${text}${who}`);
  }

  private refused(wanted: Wanted, error: BridgeError): void {
    if (wanted.answered !== undefined) return wanted.answered(error);
    const { vm, log, retryMs = RETRY_MS } = this.options;
    if (wanted.trouble?.code !== error.code)
      log.warn(
        { vm, spec: formatReverseSpec(wanted.spec), code: error.code },
        `not open: ${error.message}; tried again every ${retryMs / 1000} s`,
      );
    wanted.trouble = error;
    this.retry ??= setTimeout(() => {
      this.retry = undefined;
      this.say();
    }, retryMs).unref();
  }

  private forwardOf(wanted: Wanted): Forward {
    const down = () => (this.link === undefined ? this.down : undefined);
    const trouble = () => (wanted.trouble === undefined ? undefined : `not open: ${wanted.trouble.message}`);
    return {
      close: async ({ now }) => {
        this.remove(wanted);
        if (now) wanted.exit.stop();
      },
      stats: () => wanted.exit.stats(),
      get state() {
        return down() ?? trouble();
      },
    };
  }

  private remove(wanted: Wanted): void {
    if (this.wanted.delete(wanted.id)) this.say();
  }

  /**
   * Tells the shim all that is wanted, once for all that comes up in a turn. What waited for the link is in the first set
   * so, or the shim would close the ports that it had open for the host agent that was here before.
   */
  private say(): void {
    this.saying ??= setImmediate(() => {
      this.saying = undefined;
      const forwards = [...this.wanted.values()].map(({ id, spec }) => ({
        id,
        spec: formatReverseSpec(spec),
      }));
      this.link?.send({ type: 'reverse', forwards });
    });
  }

  private unsupported(): BridgeError {
    return new BridgeError(
      'UNSUPPORTED',
      `the shim of VM "${this.options.vm}" cannot publish services of the host: it is a vpnkit, or an older portferry`,
    );
  }
}

function stopping(): BridgeError {
  return new BridgeError('CANCELLED', 'the host agent is stopping');
}

function isSame(service: Place, destination: Destination | Place): boolean {
  return (
    service.protocol === destination.protocol &&
    describePlace(service) === describePlace(destination as Place)
  );
}
