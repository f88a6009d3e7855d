import { rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import type { Stop } from '../helpers/piece-proxy.ts';

/** Where a program says at which step it is (state-steps.ts), and waits until it may go on. */
export class StepServer {
  private readonly server: Server;
  private readonly path: string;

  private constructor(path: string, at: (step: string) => Stop | undefined) {
    this.path = path;
    this.server = createServer((socket) => {
      socket.setEncoding('utf8');
      socket.on('error', () => {});
      socket.once('data', (step: string) => {
        const stop = at(step.trim());
        if (stop === undefined) socket.end();
        else void stop.act().finally(() => socket.end());
      });
    });
  }

  /** @param at what to do at a step */
  static async start(path: string, at: (step: string) => Stop | undefined): Promise<StepServer> {
    const steps = new StepServer(path, at);
    await new Promise<void>((resolve, reject) => {
      steps.server.once('error', reject);
      steps.server.listen(path, resolve);
    });
    return steps;
  }

  async close(): Promise<void> {
    await new Promise((resolve) => this.server.close(resolve));
    rmSync(this.path, { force: true });
  }
}
