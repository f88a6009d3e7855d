/**
 * A stand-in for a hypervisor that offers AF_VSOCK of its VM on unix sockets. Each dial on the host's side is joined to
 * a unix socket, where the shim of the "VM" listens.
 *
 *     node hypervisor-main.js firecracker HOST-SOCKET VM-PORT VM-SOCKET
 *     node hypervisor-main.js hyperkit DIRECTORY VM-PORT VM-SOCKET
 *
 * `hang` instead of VM-SOCKET: a VM that never answers.
 */
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';

const [kind, place = '', vmPort = '', vmSocket = ''] = process.argv.slice(2);

function dialVm(host: Socket, port: number, connected: (vm: Socket) => void): void {
  if (vmSocket === 'hang') return;
  if (port !== Number(vmPort)) return void host.destroy();
  const vm = connect({ path: vmSocket, allowHalfOpen: true });
  vm.on('error', () => host.destroy());
  vm.on('connect', () => connected(vm));
}

/** Firecracker: an end of the host's stream ends the VM's whole, and the VM's half-close is not passed on. */
function firecracker(host: Socket): void {
  let line = '';
  host.on('data', function request(chunk: Buffer) {
    line += chunk.toString('latin1');
    if (!line.includes('\n')) return;
    host.off('data', request);
    host.pause();
    const port = /^CONNECT (\d+)\n$/.exec(line);
    if (port === null) return void host.destroy();
    dialVm(host, Number(port[1]), (vm) => {
      host.write('OK 1073741824\n');
      host.pipe(vm, { end: false });
      vm.pipe(host, { end: false });
      host.on('end', () => vm.destroy());
      vm.on('close', () => host.destroy());
      host.on('close', () => vm.destroy());
    });
  });
}

/** HyperKit: one read of 18 bytes, no answer; half-closes are passed on. */
function hyperkit(host: Socket): void {
  host.once('readable', () => {
    const line = (host.read(18) as Buffer | null)?.toString('latin1') ?? '';
    const request = /^([0-9a-f]{8})\.([0-9a-f]{8})\n$/.exec(line);
    if (request === null || Number.parseInt(request[1]!, 16) !== 3) return void host.destroy();
    dialVm(host, Number.parseInt(request[2]!, 16), (vm) => {
      host.pipe(vm);
      vm.pipe(host, { end: false });
      // A program of the VM that dies shuts both directions at once; one that half-closes takes bytes still.
      vm.on('end', () => vm.write('', (error) => (error ? host.destroy() : host.end())));
      host.on('close', () => vm.destroy());
      vm.on('close', () => host.destroy());
    });
  });
}

const serve = kind === 'hyperkit' ? hyperkit : firecracker;
const server = createServer({ allowHalfOpen: true }, (host) => {
  host.on('error', () => {});
  serve(host);
});
server.listen(kind === 'hyperkit' ? join(place, 'connect') : place, () => console.log('ready'));
