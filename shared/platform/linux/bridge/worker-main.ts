/** The worker thread of the bridge. */
import { runWorker } from '../worker-thread.ts';
import { BridgeWorker } from './bridge-worker.ts';
import type { BridgeOrder, BridgeReport } from './orders.ts';

await runWorker<BridgeOrder, BridgeReport, undefined>((context) => new BridgeWorker(context));
