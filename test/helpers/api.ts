/** The HTTP API of a host agent, asked directly, so that a test need not start a process for each question. */
import { type Agent, request } from 'node:http';

export interface ForwardList {
  readonly forwards: ReadonlyArray<{
    readonly spec: string;
    readonly vm: string;
    readonly owner: string;
    readonly since: string;
    readonly state?: string;
    readonly error?: { readonly code: string; readonly message: string };
    readonly stats: Record<string, number>;
  }>;
  readonly vms: ReadonlyArray<{
    readonly name: string;
    readonly up: boolean;
    readonly lane?: string;
    readonly rttMs?: number;
    readonly token: boolean;
    readonly authFailures: number;
  }>;
}

/**
 * One request to /v1/forwards.
 * @param socketPath the host agent's --api
 * @param agent keeps the connection between requests; without it each request has its own
 */
export function callApi(
  socketPath: string,
  method: string,
  body?: object,
  agent?: Agent,
): Promise<{ status: number; body: unknown }> {
  return new Promise((resolve, reject) => {
    const text = body === undefined ? '' : JSON.stringify(body);
    // Node frames no body of a DELETE by itself.
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
    const options = { socketPath, method, path: '/v1/forwards', headers, agent: agent ?? false };
    const call = request(options, (response) => {
      let answer = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        answer += chunk;
      });
      response.on('error', reject);
      response.on('end', () => {
        try {
          resolve({ status: response.statusCode!, body: JSON.parse(answer) as unknown });
        } catch (error) {
          reject(error);
        }
      });
    });
    call.on('error', reject);
    call.end(text);
  });
}

/** What `GET /v1/forwards` answers. */
export async function listForwards(socketPath: string): Promise<ForwardList> {
  const { status, body } = await callApi(socketPath, 'GET');
  if (status !== 200) throw new Error(`list failed: ${JSON.stringify(body)}`);
  return body as ForwardList;
}
