/** Where a fault strikes: at a named message or byte of what the programs say to each other. */

/** What is done in a round while the fault waits for its point. */
export type Journey =
  | 'relink'
  | 'claim in the VM'
  | 'release in the VM'
  | 'claim on the host'
  | 'release on the host'
  | 'expose'
  | 'unexpose'
  | 'expose in the VM'
  | 'unexpose in the VM'
  | 'connect from the VM'
  | 'connect'
  | 'question'
  | 'reset by the client'
  | 'datagrams';

/** Who is ended: a process by SIGKILL; `link` its stream; `transport` every stream between the two programs. */
export type Victim = 'claimer' | 'shim' | 'host' | 'link' | 'transport';

export type Place = 'link' | 'VM tree' | 'host tree' | 'API' | 'state file';

/** The last is the dedicated lane where only the shim can dial, so that it opens spare streams. */
export type Lane = 'dedicated' | 'multiplexed' | 'shim-dialled';

export interface Point {
  readonly name: string;
  readonly journey: Journey;
  /** Between which programs. */
  readonly place: Place;
  /** `up` is towards the shim, or the server of a tree or of the API. */
  readonly direction: 'up' | 'down';
  /** As test/helpers/wire-pieces.ts names it; of the state file the step of writing it, as state-steps.ts has it. */
  readonly kind: string;
  /** Only on a stream that began so. */
  readonly opening?: string;
  readonly part: 'before' | 'half' | 'after';
  /** Where only one lane has it; streams that the shim opens are those of the dedicated lane in most. */
  readonly lane?: Lane;
  /** Who is ended, where that is not left to chance. */
  readonly victim?: Victim;
}

type Parts = ReadonlyArray<Point['part']>;
const AROUND: Parts = ['before', 'after'];
const ALL: Parts = ['before', 'half', 'after'];

function at(
  journey: Journey,
  place: Place,
  direction: 'up' | 'down',
  kind: string,
  parts: Parts,
  more: Pick<Point, 'lane' | 'opening'> = {},
): Point[] {
  const lane = more.lane === undefined ? '' : `, ${more.lane} lane`;
  return parts.map((part) => ({
    name: `${journey}: ${part} ${kind} ${direction}${lane}`,
    ...{ journey, place, direction, kind, part },
    ...more,
  }));
}

/** A step of writing the state file; it is the host agent that is killed there. */
function writing(journey: Journey, ...steps: string[]): Point[] {
  return steps.map((kind) => ({
    name: `${journey}: state file, ${kind}`,
    ...({ journey, place: 'state file', direction: 'up', kind, part: 'after', victim: 'host' } as const),
  }));
}

const DEDICATED = { lane: 'dedicated', opening: 'preface' } as const;
const MULTIPLEXED = { lane: 'multiplexed' } as const;
const SPARES = { lane: 'shim-dialled' } as const;

export const POINTS: readonly Point[] = [
  ...at('relink', 'link', 'up', 'hello', ALL),
  ...at('relink', 'link', 'down', 'hello', ALL),
  // Only the multiplexed lane has no tokens here.
  ...at('relink', 'link', 'up', 'proof', ALL, { lane: 'dedicated' }),
  ...at('relink', 'link', 'down', 'proof', ALL, { lane: 'dedicated' }),
  ...at('relink', 'link', 'up', 'start', ALL),
  ...at('relink', 'link', 'down', 'started', AROUND),
  ...at('relink', 'link', 'down', 'claims', ALL),
  ...at('relink', 'link', 'up', 'claimed', AROUND),

  ...at('relink', 'link', 'up', 'reverse', ALL),
  ...at('relink', 'link', 'down', 'reversed', AROUND),

  ...at('expose in the VM', 'link', 'up', 'reverse', ALL),
  ...at('expose in the VM', 'link', 'down', 'reversed', ALL),
  ...at('unexpose in the VM', 'link', 'up', 'reverse', ALL),
  ...at('connect from the VM', 'link', 'down', 'open', ALL),
  ...at('connect from the VM', 'link', 'up', 'dial-result', ALL),
  ...at('connect from the VM', 'link', 'down', 'data', ['half'], { opening: 'hello' }),
  ...at('connect from the VM', 'link', 'up', 'data', ['half'], { opening: 'hello' }),

  ...at('claim in the VM', 'VM tree', 'up', 'Tversion', ['after']),
  ...at('claim in the VM', 'VM tree', 'down', 'Rattach', ['after']),
  ...at('claim in the VM', 'VM tree', 'up', 'Tcreate', AROUND),
  ...at('claim in the VM', 'VM tree', 'up', 'Topen', ['after']),
  ...at('claim in the VM', 'VM tree', 'up', 'Twrite', ALL),
  ...at('claim in the VM', 'link', 'down', 'claim', ALL),
  ...at('claim in the VM', 'link', 'up', 'claimed', ALL),
  ...at('claim in the VM', 'VM tree', 'down', 'Rread', ALL),

  ...at('release in the VM', 'VM tree', 'up', 'Tclunk', AROUND),
  ...at('release in the VM', 'link', 'down', 'unclaim', ALL),
  ...at('release in the VM', 'link', 'up', 'unclaimed', AROUND),

  ...at('claim on the host', 'host tree', 'up', 'Tcreate', ['after']),
  ...at('claim on the host', 'host tree', 'up', 'Twrite', ALL),
  ...at('claim on the host', 'host tree', 'down', 'Rread', ALL),
  ...at('release on the host', 'host tree', 'up', 'Tclunk', AROUND),

  ...at('expose', 'API', 'up', 'data', ALL),
  ...at('expose', 'API', 'down', 'data', ALL),
  ...at('unexpose', 'API', 'up', 'data', AROUND),
  ...at('unexpose', 'API', 'down', 'data', AROUND),
  ...writing(
    'expose',
    'to be opened',
    'opened',
    'half written',
    'written',
    'synced',
    'renamed',
    'directory synced',
  ),
  ...writing('unexpose', 'opened', 'written', 'synced', 'renamed', 'directory synced'),

  ...at('relink', 'link', 'up', 'spares', ALL, SPARES),
  ...at('relink', 'link', 'down', 'spare', ALL, SPARES),
  ...at('connect', 'link', 'down', 'spare', ALL, SPARES),

  ...at('connect', 'link', 'up', 'preface', ALL, DEDICATED),
  ...at('connect', 'link', 'down', 'answer', ALL, DEDICATED),
  ...at('connect', 'link', 'up', 'data', ['half'], DEDICATED),
  ...at('connect', 'link', 'down', 'data', ['half'], DEDICATED),
  ...at('connect', 'link', 'up', 'end', AROUND, DEDICATED),
  ...at('connect', 'link', 'down', 'end', AROUND, DEDICATED),
  ...at('question', 'link', 'up', 'end', AROUND, DEDICATED),
  ...at('question', 'link', 'down', 'end', AROUND, DEDICATED),
  ...at('reset by the client', 'link', 'up', 'stream-reset', AROUND, { lane: 'dedicated' }),

  ...at('connect', 'link', 'up', 'open', ALL, MULTIPLEXED),
  ...at('connect', 'link', 'down', 'dial-result', ALL, MULTIPLEXED),
  ...at('connect', 'link', 'up', 'data', ALL, MULTIPLEXED),
  ...at('connect', 'link', 'down', 'data', ALL, MULTIPLEXED),
  ...at('connect', 'link', 'down', 'window', ['after'], MULTIPLEXED),
  ...at('connect', 'link', 'down', 'shutdown', AROUND, MULTIPLEXED),
  ...at('connect', 'link', 'up', 'close', AROUND, MULTIPLEXED),
  ...at('question', 'link', 'up', 'shutdown', AROUND, MULTIPLEXED),
  ...at('question', 'link', 'down', 'close', AROUND, MULTIPLEXED),
  ...at('reset by the client', 'link', 'up', 'reset', AROUND, MULTIPLEXED),

  ...at('datagrams', 'link', 'up', 'data', ['half']),
  ...at('datagrams', 'link', 'down', 'data', ['half']),
];

const VICTIMS: readonly Victim[] = ['claimer', 'shim', 'host', 'link', 'transport'];

/** The points of a lane. */
export function pointsOf(lane: Lane): Point[] {
  const lanes = lane === 'shim-dialled' ? ['dedicated', lane] : [lane];
  return POINTS.filter((point) => point.lane === undefined || lanes.includes(point.lane));
}

/** Who can be ended at a point: on the multiplexed lane the link is the whole transport. */
export function victimsOf(lane: Lane): readonly Victim[] {
  return lane === 'multiplexed' ? VICTIMS.filter((victim) => victim !== 'transport') : VICTIMS;
}
