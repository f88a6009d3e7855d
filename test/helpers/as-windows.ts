/**
 * Runs before a program does (node --import), and has it take the system for Windows, which has named pipes and no unix
 * sockets: the pipes are sockets in the directory of TEMP that are called as pipes are. Ctrl-Break, which others have not, is
 * SIGUSR2. No more of Windows is simulated.
 */
import { type ListenOptions, Server } from 'node:net';

const { listen } = Server.prototype;

/** Whatever is no name of a pipe is denied (libuv, uv_pipe_bind). */
function listenAsThere(this: Server, options: ListenOptions, ...rest: []): Server {
  const { path } = options;
  if (path === undefined || path.startsWith('\\\\.\\pipe\\')) return listen.call(this, options, ...rest);
  const error = Object.assign(new Error(`listen EACCES: permission denied ${path}`), { code: 'EACCES' });
  process.nextTick(() => this.emit('error', error));
  return this;
}

process.on('SIGUSR2', () => process.emit('SIGBREAK'));
process.chdir(process.env.TEMP!);
Object.defineProperty(process, 'platform', { value: 'win32' });
Server.prototype.listen = listenAsThere as Server['listen'];
