/** Runs in the host agent and its workers before they do: each collects its garbage when the main thread gets SIGUSR2. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { BroadcastChannel, isMainThread } from 'node:worker_threads';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const channel = new BroadcastChannel('portferry-test-collect-garbage');
channel.unref();
if (isMainThread)
  process.on('SIGUSR2', () => {
    channel.postMessage('');
    collect();
  });
else channel.onmessage = collect;
