/** The clients, in a process of their own: it gets a Task by a message of Node's IPC, and answers with a Result. */
import { messageOf } from '../../../shared/errors.ts';
import { chooseNetwork } from './choose.ts';
import { type Figures, type Task, Tasks } from './tasks.ts';

export type Result =
  | { readonly type: 'ready'; readonly driver: string }
  | { readonly type: 'figures'; readonly figures: Figures }
  | { readonly type: 'failed'; readonly why: string };

const say = (result: Result) => process.send?.(result);
process.on('disconnect', () => process.exit());
const network = await chooseNetwork();
const tasks = new Tasks(network);
process.on('message', (task: Task) => {
  tasks.run(task).then(
    (figures) => say({ type: 'figures', figures }),
    (error: unknown) => say({ type: 'failed', why: messageOf(error) }),
  );
});
say({ type: 'ready', driver: network.name });
