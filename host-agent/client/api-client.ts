import { statSync } from 'node:fs';
import { request } from 'node:http';
import { BridgeError, type ErrorCode, messageOf, nodeErrno } from '../../shared/errors.ts';
import type { ForwardView, VmView } from '../control/api.ts';

/** What `GET /v1/forwards` answers. */
export interface ForwardList {
  readonly forwards: ForwardView[];
  readonly vms: VmView[];
}

/** The command line's side of the API. */
export class ApiClient {
  private readonly socketPath: string;

  /** @param socketPath the host agent's --api */
  constructor(socketPath: string) {
    this.socketPath = socketPath;
  }

  /** @throws BridgeError with the code that the host agent answered, or as `unreachable` says when it does not answer */
  expose(spec: string, vm: string | undefined): Promise<ForwardView> {
    return this.call<ForwardView>('POST', { spec, vm });
  }

  /** @param now also ends the connections that run */
  unexpose(spec: string, vm: string | undefined, now: boolean): Promise<{ forwards: ForwardView[] }> {
    return this.call<{ forwards: ForwardView[] }>('DELETE', { spec, vm, now });
  }

  list(): Promise<ForwardList> {
    return this.call<ForwardList>('GET');
  }

  private call<T>(method: string, body?: object): Promise<T> {
    const { socketPath } = this;
    const text = body === undefined ? '' : JSON.stringify(body);
    // Without a length Node sends the body of a DELETE unframed, and nobody can read it (_http_outgoing).
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
    return new Promise((resolve, reject) => {
      const call = request({ socketPath, method, path: '/v1/forwards', headers }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', (error) => reject(unreachable(socketPath, error)));
        response.on('end', () => {
          try {
            const value: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
            if (response.statusCode! < 300) return resolve(value as T);
            const { code, message } = value as { code: ErrorCode; message: string };
            reject(new BridgeError(code, message));
          } catch (error) {
            reject(unreachable(socketPath, error));
          }
        });
      });
      call.on('error', (error) => reject(unreachable(socketPath, error)));
      call.end(text);
    });
  }
}

/** Why the API could not be reached. @param error what Node says. @returns NO_LINK, PERMISSION_DENIED or BAD_REQUEST */
export function unreachable(socketPath: string, error: unknown): BridgeError {
  const because = (code: ErrorCode, why: string) =>
    new BridgeError(code, `cannot reach the host agent at ${socketPath}: ${why}`, { cause: error });
  switch (nodeErrno(error)) {
    case 'ENOENT':
    case 'ENOTDIR':
      return because('NO_LINK', 'there is no such socket; is portferry host-agent running with this --api?');
    case 'ECONNREFUSED':
      return isSocket(socketPath)
        ? because('NO_LINK', 'nobody listens there; is portferry host-agent running?')
        : because('BAD_REQUEST', 'that is no socket; say the --api of portferry host-agent');
    case 'EACCES':
    case 'EPERM':
      return because(
        'PERMISSION_DENIED',
        'permission denied; the socket belongs to the user who runs the host agent',
      );
    default:
      return because('NO_LINK', messageOf(error));
  }
}

/** Linux refuses a connect to a file or a directory as it does where nobody listens. */
function isSocket(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isSocket() ?? true;
}
