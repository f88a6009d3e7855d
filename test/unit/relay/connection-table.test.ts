import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Action,
  EVENTS,
  type Event,
  nextStep,
  STATES,
  type State,
} from '../../../shared/relay/connection-table.ts';

/** Every sequence of events that can happen: an end or reset comes once from a side, a dial has one result. */
function run(events: readonly Event[]): { states: State[]; actions: Action[] } {
  let state: State = 'dialling';
  const states: State[] = [state];
  const actions: Action[] = [];
  for (const event of events) {
    const step = nextStep(state, event);
    state = step.next;
    states.push(state);
    actions.push(...step.actions);
  }
  return { states, actions };
}

const events = fc.array(fc.constantFrom(...EVENTS), { maxLength: 12 });
const count = (actions: Action[], action: Action) => actions.filter((each) => each === action).length;

describe('the connection table', () => {
  it('answers every event in every state', () => {
    for (const state of STATES)
      for (const event of EVENTS) expect(STATES).toContain(nextStep(state, event).next);
  });

  it('never does a thing twice, never both ends and resets after an abort', () => {
    fc.assert(
      fc.property(events, (sequence) => {
        const { actions } = run(sequence);
        for (const action of new Set(actions)) expect(count(actions, action)).toBe(1);
        const abort = actions.findIndex((action) => /reset|refuse|cancel/.test(action));
        if (abort >= 0)
          expect(actions.slice(abort).filter((action) => /^end|start|accept/.test(action))).toEqual([]);
      }),
      { numRuns: 2_000 },
    );
  });

  it('never leaves closed, and only goes from aborting to closed', () => {
    fc.assert(
      fc.property(events, (sequence) => {
        const { states } = run(sequence);
        states.forEach((state, index) => {
          const next = states[index + 1] ?? state;
          if (state === 'closed') expect(next).toBe('closed');
          if (state === 'aborting') expect(['aborting', 'closed']).toContain(next);
        });
      }),
      { numRuns: 2_000 },
    );
  });

  it('a running connection whose side resets resets the other, and only the other', () => {
    for (const state of ['open', 'initiating-ended', 'target-ended', 'draining'] as const) {
      expect(nextStep(state, 'initiating-reset')).toEqual({ next: 'aborting', actions: ['reset-target'] });
      expect(nextStep(state, 'target-reset')).toEqual({ next: 'aborting', actions: ['reset-initiating'] });
      for (const event of ['limit', 'stop'] as const)
        expect(nextStep(state, event).actions).toEqual(['reset-initiating', 'reset-target']);
    }
  });

  it('an end is a half-close of the other side, in either order', () => {
    expect(run(['dialled', 'initiating-end', 'target-end', 'released'])).toEqual({
      states: ['dialling', 'open', 'initiating-ended', 'draining', 'closed'],
      actions: ['accept-initiating', 'start', 'end-target', 'end-initiating'],
    });
    expect(run(['dialled', 'target-end', 'initiating-end', 'released'])).toEqual({
      states: ['dialling', 'open', 'target-ended', 'draining', 'closed'],
      actions: ['accept-initiating', 'start', 'end-initiating', 'end-target'],
    });
  });

  it('a client that ends before the dial is done is still served', () => {
    expect(run(['initiating-end', 'dialled', 'target-end', 'released']).actions).toEqual([
      'accept-initiating',
      'start',
      'end-target',
      'end-initiating',
    ]);
  });

  it('while dialling, a failure refuses the client and a lost client cancels the dial', () => {
    for (const before of [[], ['initiating-end']] as Event[][]) {
      expect(run([...before, 'dial-failed', 'released']).actions).toEqual(['refuse-initiating']);
      expect(run([...before, 'initiating-reset', 'released']).actions).toEqual(['cancel-dial']);
      expect(run([...before, 'limit', 'released']).actions).toEqual(['cancel-dial', 'refuse-initiating']);
    }
  });

  it('an end that is gone has reset, unless both sides have ended', () => {
    expect(nextStep('open', 'target-gone').actions).toEqual(['reset-initiating']);
    expect(nextStep('target-ended', 'initiating-gone').actions).toEqual(['reset-target']);
    expect(nextStep('draining', 'initiating-gone')).toEqual({ next: 'draining', actions: [] });
  });
});
