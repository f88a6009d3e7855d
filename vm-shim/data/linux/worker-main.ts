/** A worker thread of the VM shim. */
import { runWorker } from '../../../shared/platform/linux/worker-thread.ts';
import type { ShimOrder, ShimReport, ShimShared } from './orders.ts';
import { ShimWorker } from './shim-worker.ts';

await runWorker<ShimOrder, ShimReport, ShimShared>((context) => new ShimWorker(context));
