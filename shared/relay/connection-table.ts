/**
 * The life of one connection as a pure table of state × event. Both engines, both lanes and both programs
 * drive it; nobody else decides about ends and resets. The *initiating* side is the one the connection came
 * from (the client on the host; the tunnel in the VM), the *target* the one that is dialled.
 *
 *   dialling ──dialled──► open ──end──► initiating-ended / target-ended ──end──► draining ──released──► closed
 *       └── failure, reset, limit or stop, from any state ──► aborting ──released──► closed
 *
 * An end that is `gone` (its resources are) before both sides have ended was reset without a word.
 * `draining` is when both sides have ended and their last bytes are still on the way out: a reset there is
 * still passed on. `released` comes when both ends have given up their resources.
 */

export const STATES = [
  'dialling',
  'dialling-ended',
  'open',
  'initiating-ended',
  'target-ended',
  'draining',
  'aborting',
  'closed',
] as const;
export type State = (typeof STATES)[number];

export const EVENTS = [
  'dialled',
  'dial-failed',
  'initiating-end',
  'target-end',
  'initiating-reset',
  'target-reset',
  'initiating-gone',
  'target-gone',
  'limit',
  'stop',
  'released',
] as const;
export type Event = (typeof EVENTS)[number];

export type Action =
  | 'accept-initiating'
  | 'refuse-initiating'
  | 'cancel-dial'
  | 'start'
  | 'end-initiating'
  | 'end-target'
  | 'reset-initiating'
  | 'reset-target';

export interface Step {
  readonly next: State;
  readonly actions: readonly Action[];
}

const step = (next: State, ...actions: Action[]): Step => ({ next, actions });

const dialling = {
  'dial-failed': step('aborting', 'refuse-initiating'),
  'initiating-reset': step('aborting', 'cancel-dial'),
  'initiating-gone': step('aborting', 'cancel-dial'),
  limit: step('aborting', 'cancel-dial', 'refuse-initiating'),
  stop: step('aborting', 'cancel-dial', 'refuse-initiating'),
} as const;

const aborts = {
  'initiating-reset': step('aborting', 'reset-target'),
  'target-reset': step('aborting', 'reset-initiating'),
  limit: step('aborting', 'reset-initiating', 'reset-target'),
  stop: step('aborting', 'reset-initiating', 'reset-target'),
} as const;

const running = {
  ...aborts,
  'initiating-gone': step('aborting', 'reset-target'),
  'target-gone': step('aborting', 'reset-initiating'),
} as const;

const TABLE: Record<State, Partial<Record<Event, Step>>> = {
  dialling: {
    ...dialling,
    dialled: step('open', 'accept-initiating', 'start'),
    'initiating-end': step('dialling-ended'),
  },
  'dialling-ended': {
    ...dialling,
    dialled: step('initiating-ended', 'accept-initiating', 'start', 'end-target'),
  },
  open: {
    ...running,
    'initiating-end': step('initiating-ended', 'end-target'),
    'target-end': step('target-ended', 'end-initiating'),
  },
  'initiating-ended': { ...running, 'target-end': step('draining', 'end-initiating') },
  'target-ended': { ...running, 'initiating-end': step('draining', 'end-target') },
  draining: { ...aborts, released: step('closed') },
  aborting: { released: step('closed') },
  closed: {},
};

const IGNORED = new Map<State, Step>(STATES.map((state) => [state, step(state)]));

/** What an event does in a state. An event that a state does not know changes nothing. */
export function nextStep(state: State, event: Event): Step {
  return TABLE[state][event] ?? IGNORED.get(state)!;
}
