import { describe, expect, it } from 'vitest';
import { chooseEngine, defaultWorkers, engineOptions } from '../../../shared/engine/choose.ts';
import { silentLogger } from '../../../shared/logger.ts';
import { engines } from '../../helpers/engines.ts';

describe('the engine', () => {
  it('is portable when that is asked for', async () => {
    expect(await chooseEngine({ engine: 'portable', workers: undefined }, silentLogger())).toBeUndefined();
  });

  it.skipIf(!engines.includes('linux'))('is the Linux one where it works', async () => {
    for (const engine of ['auto', 'linux'] as const)
      expect(await chooseEngine({ engine, workers: 3 }, silentLogger())).toMatchObject({ workers: 3 });
  });

  it('options are checked', () => {
    expect(engineOptions({})).toEqual({ engine: 'auto', workers: undefined });
    expect(engineOptions({ engine: 'linux', workers: '4' })).toEqual({ engine: 'linux', workers: 4 });
    expect(() => engineOptions({ engine: 'best' })).toThrow(/known are auto, portable, linux/);
    for (const workers of ['0', '65', 'x', '1.5', '-1'])
      expect(() => engineOptions({ workers })).toThrow(/1 to 64/);
  });

  it('has from one to four workers', () => {
    expect([1, 2, 3, 4, 8, 64].map(defaultWorkers)).toEqual([1, 2, 2, 2, 4, 4]);
  });
});
