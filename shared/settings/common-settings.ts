/** What the configuration files of both programs may say. */
import { ENGINES, MAX_WORKERS } from '../engine/choose.ts';
import { LOG_LEVELS } from '../log-levels.ts';
import type { SettingEntry } from './schema.ts';

export const COMMON_SETTINGS = {
  heartbeat: {
    kind: 'seconds',
    min: 0.1,
    max: 3_600,
    unless: '10',
    about:
      'Seconds after which the other side is asked whether it is there; silent for three times as long, it is dead.',
  },
  engine: {
    kind: 'text',
    choices: ENGINES,
    unless: '"auto"',
    about: 'What carries connections; `auto` takes the best that works.',
  },
  workers: {
    kind: 'number',
    min: 1,
    max: MAX_WORKERS,
    unless: 'half of the cores, 2 to 4; one on a single core',
    about: 'Threads of the Linux engine.',
  },
  'log-level': {
    kind: 'text',
    choices: LOG_LEVELS,
    unless: '"info"',
    about: 'Least severity that is logged, to stderr.',
  },
} as const satisfies Record<string, SettingEntry>;
