import { engines } from '../../helpers/engines.ts';
import { carries } from './carrier.ts';
import { manyAtOnce } from './many.ts';

// Who opens a stream differs, and not how it is carried: many at once need more of them than lie ready.
carries('shim-dialled', engines.at(-1)!, manyAtOnce);
