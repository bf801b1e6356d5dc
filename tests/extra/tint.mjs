// node tint.mjs: for each line of stdin, the path of a WGSL file, prints one line: Tint's errors as a JSON list of strings.
// Tint is the WGSL compiler of Chrome; Dawn for node brings it without a browser.
import { create, globals } from "webgpu";
import fs from "node:fs";
import readline from "node:readline";

Object.assign(globalThis, globals, { gpu: create([]) }); // Dawn ends with its instance: keep that from collection
const adapter = await gpu.requestAdapter();
if (!adapter) {
  console.error("no adapter: point VK_DRIVER_FILES at SwiftShader's manifest");
  process.exit(2);
}
const device = await adapter.requestDevice();
for await (const path of readline.createInterface({ input: process.stdin })) {
  device.pushErrorScope("validation");
  const code = fs.readFileSync(path, "utf8");
  const { messages } = await device.createShaderModule({ code }).getCompilationInfo();
  const errors = messages.filter((m) => m.type === "error").map((m) => `${m.lineNum}:${m.linePos} ${m.message}`);
  const error = await device.popErrorScope();
  console.log(JSON.stringify(error && !errors.length ? [error.message] : errors));
}
device.destroy();
