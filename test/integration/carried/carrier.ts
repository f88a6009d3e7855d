/** What carries connections, and what is checked on each. */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe } from 'vitest';
import { type EngineName, engines } from '../../helpers/engines.ts';
import { type LaneChoice, Pair } from '../../helpers/processes.ts';

/** A pair on one lane of one engine, that all its cases share. */
export interface Carrier {
  readonly lane: LaneChoice;
  readonly engine: EngineName;
  /** Runs before the first case. */
  readonly pair: Pair;
}

/** Unix sockets in it may be published in the VM, as may what is at 127.0.0.1; it is not there before somebody makes it. */
export const SERVICES = join(tmpdir(), `portferry-services-${process.pid}`);
const OPTIONS = ['--allow-reverse', '127.0.0.1', '--allow-reverse', `unix:${SERVICES}`];

/** @param suites what defines the cases; they may leave forwards behind, and no connection */
export function carries(
  lane: LaneChoice,
  engine: EngineName,
  ...suites: ReadonlyArray<(carrier: Carrier) => void>
): void {
  let pair: Pair;
  const carrier = {
    lane,
    engine,
    get pair(): Pair {
      return pair;
    },
  };
  describe.skipIf(!engines.includes(engine))(`${lane} lane, ${engine} engine`, () => {
    beforeAll(async () => {
      pair = await Pair.start(lane, engine, [], OPTIONS);
    });
    afterAll(() => pair?.close());
    for (const suite of suites) describe(suite.name, () => suite(carrier));
  });
}
