import { carries } from './carrier.ts';
import { everything } from './everything.ts';

carries('multiplexed', 'linux', ...everything);
