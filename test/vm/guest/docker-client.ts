/** A client on the host's side: `docker-client.js PORT TEXT` sends a datagram and prints the answer. */
import { createSocket } from 'node:dgram';

const [port, text] = process.argv.slice(2);
const socket = createSocket('udp4');
socket.on('message', (answer) => {
  console.log(answer.toString());
  socket.close();
});
socket.send(text!, Number(port), '127.0.0.1');
