// The server, and what to do when it refuses.

const KEY = "burn-vlm-key";

// Something that went wrong, in the server's words, with what a person may do about it.
class Problem extends Error {
  constructor(message, { status = 0, code = "", param = "", retryAfter = 0 } = {}) {
    super(message);
    Object.assign(this, { status, code, param, retryAfter });
  }

  get advice() {
    const byCode = {
      model_not_found: "Choose another model above; the list has been read again.",
      context_length_exceeded: "Begin a new conversation, shorten the question, or show fewer pictures.",
      image_not_supported: "Take the pictures out, or choose a model that is shown pictures.",
      video_not_supported: "Take the videos out, or choose a model that is shown videos.",
      invalid_video: "Take the video out, or save it as MP4 and add it again; the server needs the programs ffmpeg and ffprobe.",
      invalid_image: "Take the picture out, or save it as PNG or JPEG and add it again.",
      body_too_large: "Show fewer or smaller pictures, or start the server with a larger --body-limit.",
      queue_full: `Try again in ${this.retryAfter || 1} s.`,
      invalid_api_key: "Enter the key of this server: the value of the variable that --api-key-env names.",
      ending: "The server is being ended. Start it again, then try again.",
      wrong_host: "Open the page by the address that the server printed when it started.",
      wrong_origin: "Open the page by the address that the server printed when it started.",
      internal_error: "What happened stands in the server's output; try again, or start it again.",
      invalid_conversation: "The model's template refuses this conversation: it may have no place for a system prompt.",
      unreachable: "See whether `burn-vlm serve` is still running, then try again.",
      cut_off: "The connection ended in the middle of the answer: see whether the server is still running, then try again.",
    };
    return byCode[this.code] ?? (this.param ? `Change \u201c${this.param}\u201d, in the settings perhaps, and try again.` : "");
  }
}

function key() {
  return sessionStorage.getItem(KEY) ?? "";
}

function setKey(value) {
  if (value) {
    sessionStorage.setItem(KEY, value);
  } else {
    sessionStorage.removeItem(KEY);
  }
}

// A reply, if it is a good one.
async function request(path, body, signal) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  if (key()) headers.Authorization = `Bearer ${key()}`;
  let response;
  try {
    const method = body === undefined ? "GET" : "POST";
    response = await fetch(path, { method, headers, body, signal, credentials: "omit", referrerPolicy: "no-referrer" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server does not answer.", { code: "unreachable" });
  }
  if (response.ok) return response;
  const text = await response.text().catch(() => "");
  let told = {};
  try {
    told = JSON.parse(text).error ?? {};
  } catch {
    // A proxy's page, perhaps.
  }
  const message = told.message ?? `The server replied with ${response.status} ${response.statusText}.`;
  const retryAfter = Number(response.headers.get("Retry-After") ?? 0);
  throw new Problem(message, { status: response.status, code: told.code ?? "", param: told.param ?? "", retryAfter });
}

// The events of a stream, parsed; an error among them is thrown.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    let piece;
    try {
      piece = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem("The answer broke off.", { code: "cut_off" });
    }
    if (piece.done) throw new Problem("The answer broke off.", { code: "cut_off" });
    rest += piece.value;
    const parts = rest.split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.startsWith("data: ") ? part.slice("data: ".length) : "";
      if (data === "[DONE]") return;
      if (!data) continue;
      const event = JSON.parse(data);
      if (event.error) throw new Problem(event.error.message, event.error);
      yield event;
    }
  }
}

