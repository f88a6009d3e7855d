import { engines } from '../../helpers/engines.ts';
import { carries } from './carrier.ts';
import { kills } from './kill.ts';
import { manyAtOnce } from './many.ts';

// Who opens a stream differs, and not how it is carried: many at once need more of them than lie ready,
// and when a process dies those that lie ready go with it.
carries('shim-dialled', engines.at(-1)!, manyAtOnce, kills);
