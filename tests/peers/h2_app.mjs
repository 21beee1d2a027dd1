// An HTTP/2 application on Node's own server: node h2_app.mjs PORT [KEY CERTIFICATE]
// Says what it got as JSON, and does what the path asks for.
import http2 from "node:http2";
import fs from "node:fs";

const [port, key, cert] = process.argv.slice(2);
const settings = { enableConnectProtocol: true, maxConcurrentStreams: 50 };
const server = key
  ? http2.createSecureServer({ key: fs.readFileSync(key), cert: fs.readFileSync(cert), settings, allowHTTP1: true },
                             (request, response) => { if (request.httpVersionMajor === 1) response.end("HTTP/1.1"); })
  : http2.createServer({ settings });

server.on("stream", (stream, headers) => {
  stream.on("error", () => {});
  const path = headers[":path"];
  if (headers[":protocol"] === "websocket") {
    stream.respond({ ":status": 200 });
    stream.pipe(stream);
  } else if (path === "/trailers") {
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0", "grpc-message": "fine" }));
    stream.end("body");
  } else if (path === "/hints") {
    stream.additionalHeaders({ ":status": 103, link: "</a.css>" });
    stream.respond({ ":status": 200 });
    stream.end("hinted");
  } else if (path.startsWith("/pour/")) {
    let left = Number(path.slice(6));
    const block = Buffer.alloc(65536, "x");
    stream.respond({ ":status": 200, "content-length": left });
    const more = () => {
      while (left > 0) {
        const size = Math.min(left, block.length);
        left -= size;
        if (!stream.write(block.subarray(0, size))) { stream.once("drain", more); return; }
      }
      stream.end();
    };
    more();
  } else if (path === "/count") {
    let size = 0;
    stream.on("data", (data) => { size += data.length; });
    stream.on("end", () => { stream.respond({ ":status": 200 }); stream.end(String(size)); });
  } else if (path === "/ignore") {
    stream.pause();
  } else {
    let body = "";
    stream.setEncoding("latin1");
    stream.on("data", (data) => { body += data; });
    stream.on("end", () => {
      stream.respond({ ":status": 200, "content-type": "application/json", "set-cookie": ["a=1", "b=2"] });
      stream.end(JSON.stringify({ headers, body }));
    });
  }
});
server.listen(Number(port), "127.0.0.1");
