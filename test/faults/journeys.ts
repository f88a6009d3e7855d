/** What is done while a fault waits: whatever brings the programs to its point. */
import { callApi } from '../helpers/api.ts';
import type { Manner } from '../helpers/exchange.ts';
import { hostPort } from '../helpers/processes.ts';
import type { Seeded } from '../helpers/seeded.ts';
import { Claimer } from './claimer.ts';
import type { Journey } from './points.ts';
import { portOf } from './ports.ts';
import type { Site } from './site.ts';
import { untilWorks } from './until-works.ts';

export interface UnderWay {
  /** The claimer that the journey is about; who else could be ended as one is the site's. */
  readonly claimer?: Claimer;
  /** Ends the client of the API as if it were killed. */
  readonly abandon?: () => void;
  /** Runs into the fault; what it meets there is no failure. */
  run(): Promise<void>;
  /** Leaves the site as it was, when the fault is over. @throws Error for what it finds wrong */
  after(deadline: number): Promise<void>;
}

type Begin = (site: Site, random: Seeded) => Promise<UnderWay>;

const nothing = async (): Promise<void> => {};

/** A claim that is made while the fault waits, and has to be there in the end. */
function claiming(tree: 'vmTree' | 'hostTree'): Begin {
  return async (site) => {
    const claimer = new Claimer(site.group, site[tree], await site.newSpec());
    return {
      claimer,
      run: async () => {
        claimer.start();
        await claimer.settled();
      },
      after: async (deadline) => {
        await claimer.keep(deadline);
        await site.exchange.whole(hostPort(claimer.spec), 1_000, 1_000);
        await claimer.stop();
      },
    };
  };
}

/** A claim that is released while the fault waits, and has to be gone in the end. */
function releasing(tree: 'vmTree' | 'hostTree'): Begin {
  return async (site) => {
    const claimer = new Claimer(site.group, site[tree], await site.newSpec());
    await claimer.keep(Date.now() + 20_000);
    return {
      claimer,
      run: async () => {
        await claimer.stop();
      },
      after: async () => {
        await claimer.stop('SIGKILL');
      },
    };
  };
}

/** A request to the API whose answer may get lost; asked again it has to come to the same. */
function asking(method: 'POST' | 'DELETE', newSpec = (site: Site) => site.newSpec()): Begin {
  return async (site) => {
    const spec = await newSpec(site);
    if (method === 'DELETE') await callApi(site.api, 'POST', { spec });
    let answered: number | undefined;
    let abandon = (): void => {};
    const abandoned = new Promise<void>((resolve) => {
      abandon = resolve;
    });
    return {
      abandon,
      run: () => {
        const call = callApi(site.tappedApi, method, { spec }).then(({ status }) => {
          if (status < 300) answered = status;
        }, nothing);
        return Promise.race([abandoned, call]);
      },
      after: async (deadline) => {
        const again = await callApi(site.api, method, { spec });
        // What was answered lasts, also when the host agent was killed.
        const done = method === 'POST' ? 409 : 404;
        const expected = answered === undefined ? [method === 'POST' ? 201 : 200, done] : [done];
        if (!expected.includes(again.status))
          throw new Error(`${method} ${spec} again: ${again.status} ${JSON.stringify(again.body)}`);
        if (method === 'DELETE') return;
        const whole = () => site.exchange.whole(portOf(spec), 1_000, 1_000);
        // What was there already may not be open again yet: a reverse forward in a new shim.
        await (again.status === done ? untilWorks(spec, deadline, whole) : whole());
        const { status } = await callApi(site.api, 'DELETE', { spec });
        if (status !== 200) throw new Error(`DELETE ${spec}: ${status}`);
      },
    };
  };
}

/** A client of the port that was exposed through the API. */
function connecting(manner: Manner, up: number, down: number): Begin {
  return async (site, random) => ({
    run: () => {
      const transfer = site.exchange.begin(
        hostPort(site.exposed[0]!),
        random.between(up, 2 * up),
        down,
        manner,
      );
      site.transfers.push(transfer);
      return transfer.over;
    },
    after: nothing,
  });
}

export const JOURNEYS: Readonly<Record<Journey, Begin>> = {
  relink: async (site) => ({
    run: async () => {
      site.cut('link');
    },
    after: nothing,
  }),
  'claim in the VM': claiming('vmTree'),
  'claim on the host': claiming('hostTree'),
  'release in the VM': releasing('vmTree'),
  'release on the host': releasing('hostTree'),
  expose: asking('POST'),
  unexpose: asking('DELETE'),
  'expose in the VM': asking('POST', (site) => site.newReverseSpec()),
  'unexpose in the VM': asking('DELETE', (site) => site.newReverseSpec()),
  'connect from the VM': async (site, random) => ({
    run: () => {
      const transfer = site.exchange.begin(portOf(site.reverse), random.between(100_000, 200_000), 100_000);
      site.transfers.push(transfer);
      site.fromVm.add(transfer);
      return transfer.over;
    },
    after: nothing,
  }),
  // Large enough for windows to be returned and for splice.
  connect: connecting('plain', 400_000, 300_000),
  // Its end may come before the container is there.
  question: connecting('half-closed', 100, 100),
  'reset by the client': connecting('aborted', 1_000, 1_000),
  datagrams: async (site) => ({
    run: async () => {
      const port = hostPort(site.exposed[1]!);
      for (let i = 0; i < 3; i++) site.datagrams.ask(port);
    },
    after: nothing,
  }),
};
