/** A worker thread of the host agent. */
import { runWorker } from '../../../shared/platform/linux/worker-thread.ts';
import { HostWorker } from './host-worker.ts';
import type { HostOrder, HostReport, HostShared } from './orders.ts';

await runWorker<HostOrder, HostReport, HostShared>((context) => new HostWorker(context));
