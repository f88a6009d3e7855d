/** The loads: each runs for so many seconds against 127.0.0.1:port, and throws where anything went wrong. */
import { BulkLoad } from './bulk.ts';
import { floodDatagrams } from './datagram-flood.ts';
import { askDatagrams } from './datagram-requests.ts';
import type { Network } from './network.ts';
import { IdleConnections, RequestLoad } from './requests.ts';

export type Task =
  | {
      readonly type: 'bulk';
      readonly port: number;
      readonly streams: number;
      readonly way: 'up' | 'down';
      readonly seconds: number;
    }
  | {
      readonly type: 'requests';
      readonly port: number;
      readonly connections: number;
      readonly keepAlive: boolean;
      readonly seconds: number;
    }
  | { readonly type: 'hold'; readonly port: number; readonly connections: number }
  | { readonly type: 'release' }
  | {
      readonly type: 'datagrams';
      readonly port: number;
      readonly bytes: number;
      readonly rate: number | undefined;
      readonly seconds: number;
    }
  | {
      readonly type: 'datagram-requests';
      readonly port: number;
      readonly outstanding: number;
      readonly seconds: number;
    };

export type Figures = Readonly<Record<string, number>>;

/** Runs tasks one after the other; connections that are held stay over the ones between. */
export class Tasks {
  private readonly network: Network;
  private held: IdleConnections | undefined;

  constructor(network: Network) {
    this.network = network;
  }

  run(task: Task): Promise<Figures> {
    const { network } = this;
    switch (task.type) {
      case 'bulk':
        return new BulkLoad(network, task).run();
      case 'requests':
        return new RequestLoad(network, task).run();
      case 'datagrams':
        return floodDatagrams(network, task);
      case 'datagram-requests':
        return askDatagrams(network, task);
      case 'hold':
        this.held = new IdleConnections(network, task.connections);
        return this.held.open(task.port);
      case 'release':
        this.held?.close();
        this.held = undefined;
        return Promise.resolve({});
    }
  }
}
