import { callApi } from '../helpers/api.ts';
import { hostPort } from '../helpers/processes.ts';

/** A host agent and a VM shim that are joined, as cases see them. */
export abstract class Carrier {
  /** The path of the host agent's API. */
  abstract readonly api: string;
  /** Ends the shim without a word. */
  abstract killShim(): Promise<void>;

  /** Publishes; answers what was resolved. */
  async exposeSpec(spec: string): Promise<string> {
    const { status, body } = await callApi(this.api, 'POST', { spec });
    if (status !== 201) throw new Error(`expose ${spec} failed: ${JSON.stringify(body)}`);
    return (body as { spec: string }).spec;
  }

  /** Publishes; answers the host port. */
  async expose(spec: string): Promise<number> {
    return hostPort(await this.exposeSpec(spec));
  }

  /** Publishes a loopback port of the VM at any port of our loopback; answers that. */
  tcp(containerPort: number): Promise<number> {
    return this.expose(`tcp:127.0.0.1:0:tcp:127.0.0.1:${containerPort}`);
  }
}
