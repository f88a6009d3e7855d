/** A service of the host's network, published in that of the VM. */
import { halfCloseEcho } from '../../helpers/half-close-echo.ts';
import { startProgram } from '../../helpers/processes.ts';
import { exposeReverse, reverseSpec } from '../../helpers/reverse.ts';
import { type Cases, same } from '../cases.ts';
import type { Namespace } from './namespace.ts';
import type { VsockPair } from './vsock-pair.ts';

export async function reverseCases(
  cases: Cases,
  what: string,
  pair: VsockPair,
  vm: Namespace,
): Promise<void> {
  await cases.case(
    `${what}: a client in the VM is answered by a service of the host, half-closed`,
    async () => {
      const service = await halfCloseEcho(0);
      try {
        const { port } = await exposeReverse(pair, reverseSpec(service.port));
        // busybox ends its direction behind the last byte, and reads on.
        const [program, ...args] = vm.command('sh', '-c', `echo from the VM | busybox nc 127.0.0.1 ${port}`);
        const client = startProgram(program, args);
        same(await client.exited, 0, `the exit code of nc, which says ${client.stderr()}`);
        same(client.stdout(), 'from the VM\n', 'the answer');
        same(service.accepted(), 1, 'clients of the service');
      } finally {
        await service.close();
      }
    },
  );
}
