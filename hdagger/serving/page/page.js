// The page: a client of the REST interface under /api, like any other.

const $ = (id) => document.getElementById(id);
const POLL = 400; // milliseconds between two looks at a job
const GIVEN = "given.png", STD = "std.png"; // what the answer is compared with, and how sure it is
const NAME = "holes.png"; // what the painted mask is called
const COARSE = 3; // screen pixels of a picture's pixel from which they are shown as squares

let choices; // what can be asked for
let file; // what is restored
let strokes = []; // what was painted over it
let job = null; // the id of the job that is looked at
let urls = []; // of pictures in memory

// Asking

let token = new URLSearchParams(location.hash.slice(1)).get("token") ?? sessionStorage.token ?? "";
if (token) sessionStorage.token = token;
history.replaceState(null, "", location.pathname);

async function ask(path, options = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let answer;
  try {
    answer = await fetch(`/api/${path}`, { ...options, headers });
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  if (answer.status === 401) {
    await askToken();
    return ask(path, options);
  }
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({ error: `The server answers ${answer.status}.` }));
    throw Object.assign(new Error(told.error), { status: answer.status });
  }
  return answer;
}

function askToken() {
  $("ask").showModal();
  return new Promise((done) => {
    $("ask").addEventListener("close", () => {
      token = sessionStorage.token = $("token").value;
      done();
    }, { once: true });
  });
}

async function picture(path) {
  return urlOf(await (await ask(path)).blob());
}

function urlOf(blob) {
  const url = URL.createObjectURL(blob);
  urls.push(url);
  return url;
}

// Showing

function show(view) {
  document.body.dataset.view = view;
}

function say(error) {
  $("error").textContent = error ? error.message : "";
  $("error").hidden = !error;
}

function guarded(action) {
  return async (event) => {
    say(null);
    try {
      await action(event);
    } catch (error) {
      say(error);
    }
  };
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function fit(width, height) {
  const frame = $("frame");
  frame.style.maxWidth =
    `min(${Math.max(4 * width, 640)}px, max(16rem, (100vh - 15rem) * ${width / height}))`;
  frame.classList.toggle("coarse", frame.clientWidth > COARSE * width);
}

// A file

async function open(chosen) {
  if (chosen.size > choices.limits.bytes) {
    throw new Error(`Wanted at most ${choices.limits.bytes} bytes, but ${chosen.name} has ` +
      `${chosen.size}. Crop or shrink it.`);
  }
  const name = chosen.name.toLowerCase();
  const kinds = choices.domains.filter((kind) => kind.suffixes.some((end) => name.endsWith(end)));
  const fitting = kinds.length ? kinds : choices.domains.slice(0, 1);
  $("kind").replaceChildren(...fitting.map((kind) => element("option", {}, kind.name)));
  $("kind-label").hidden = fitting.length < 2;
  file = chosen;
  await look("");
}

// What the file tells, read as this kind of file; by default the first that can read it.
async function look(name) {
  urls.splice(0).forEach((url) => URL.revokeObjectURL(url));
  const form = new FormData();
  form.append("file", file);
  if (name) form.append("domain", name);
  const told = await (await ask("look", { method: "POST", body: form })).json();
  const kind = choices.domains.find((one) => one.name === told.domain);
  strokes = [];
  $("kind").value = kind.name;
  $("name").textContent = file.name;
  const lines = told.wanted ? [told.wanted] : told.notes;
  $("notes").replaceChildren(...lines.map((line) => element("li", {}, line)));
  $("damages").hidden = $("tools").hidden = $("holes").hidden = kind.words.length === 0;
  $("words-help").textContent = kind.words.length
    ? `Words, the first thing that happened first: ${kind.words.join(", ")}.`
    : "Options as name=value, with spaces between them.";
  $("words-label").firstChild.textContent = kind.words.length ? "All of it in words " : "Options ";
  $("words").placeholder = kind.words.length ? "gauss:2 | average:4" : "slice=3";
  const others = kind.words.length ? [] : kind.named;
  $("beside").replaceChildren(...others.map((name) =>
    element("label", {}, `The file of ${name} `, element("input", { type: "file", name }))));
  $("prior").replaceChildren(
    element("option", { value: "" }, `the one that suits (${kind.prior})`),
    ...choices.priors.map((card) => element("option", { value: card.name }, card.name)),
  );
  $("given").removeAttribute("src");
  $("stage").hidden = !told.picture;
  if (told.picture) {
    const bytes = Uint8Array.from(atob(told.picture), (letter) => letter.charCodeAt(0));
    $("given").src = urlOf(new Blob([bytes], { type: "image/png" }));
    [$("holes").width, $("holes").height] = [told.width, told.height];
    $("size").value = Math.max(3, Math.round(told.width / 30));
    $("size").max = Math.max(20, Math.round(told.width / 4));
    $("caption").textContent = `${told.width} × ${told.height}`;
  }
  show("edit");
  if (told.picture) fit(told.width, told.height);
  paint();
}

// Painting. A stroke is a list of points in the picture's pixels; a box is a rectangle.

function draw(canvas, colour) {
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  for (const stroke of strokes) {
    pen.globalCompositeOperation = stroke.erases ? "destination-out" : "source-over";
    pen.fillStyle = pen.strokeStyle = colour;
    if (stroke.box) {
      pen.fillRect(...stroke.box);
      continue;
    }
    Object.assign(pen, { lineWidth: stroke.size, lineCap: "round", lineJoin: "round" });
    pen.beginPath();
    stroke.points.forEach(([x, y]) => pen.lineTo(x, y));
    pen.lineTo(...stroke.points.at(-1).map((place) => place + 0.01)); // a dot is a line, too
    pen.stroke();
  }
  return pen;
}

function paint() {
  draw($("holes"), "#ff2d87");
  $("undo").disabled = $("clear").disabled = strokes.length === 0;
}

// The mask as a PNG of black, and white where pixels are missing; null where none are.
async function mask() {
  const { width, height } = $("holes");
  const canvas = element("canvas", { width, height });
  const pen = draw(canvas, "#fff");
  const pixels = pen.getImageData(0, 0, width, height);
  let any = false;
  for (let place = 0; place < pixels.data.length; place += 4) {
    const missing = pixels.data[place + 3] >= 128;
    any ||= missing;
    pixels.data.fill(missing ? 255 : 0, place, place + 3);
    pixels.data[place + 3] = 255;
  }
  if (!any) return null;
  pen.putImageData(pixels, 0, 0);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

function pointIn(event) {
  const canvas = $("holes"), box = canvas.getBoundingClientRect();
  return [
    (event.clientX - box.left) * canvas.width / box.width,
    (event.clientY - box.top) * canvas.height / box.height,
  ];
}

$("holes").addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  $("holes").setPointerCapture(event.pointerId);
  const erases = $("eraser").ariaPressed === "true";
  strokes.push({ erases, size: Number($("size").value), points: [pointIn(event)] });
  paint();
});
$("holes").addEventListener("pointermove", (event) => {
  if (!$("holes").hasPointerCapture(event.pointerId)) return;
  strokes.at(-1).points.push(pointIn(event));
  paint();
});
for (const [tool, other] of [["brush", "eraser"], ["eraser", "brush"]]) {
  $(tool).addEventListener("click", () => {
    $(tool).ariaPressed = "true";
    $(other).ariaPressed = "false";
  });
}
$("undo").addEventListener("click", () => { strokes.pop(); paint(); });
$("clear").addEventListener("click", () => { strokes = []; paint(); });
$("add").addEventListener("click", () => {
  const box = ["left", "top", "width", "height"].map((name) => Number($(name).value));
  strokes.push({ erases: $("eraser").ariaPressed === "true", box });
  paint();
});

// What is asked for

function damage(holes) {
  const words = $("words").value.trim(), said = {};
  if ($("damages").hidden) {
    for (const word of words.split(/\s+/).filter(Boolean)) {
      const [name, value = ""] = word.split("=");
      said[name] = value !== "" && !isNaN(value) ? Number(value) : value;
    }
    return said;
  }
  if ($("noise").value) said.denoise = Number($("noise").value);
  if (words) {
    said.operator = holes ? `${words} | mask:${NAME}` : words;
    return said;
  }
  const blur = $("blur").value;
  if (blur) {
    const angle = blur === "motion" ? `,${$("angle").value || 0}` : "";
    said.blur = `${blur}:${$("blur-size").value}${angle}`;
  }
  if ($("upscale").value) said.upscale = Number($("upscale").value);
  if ($("gray").checked) said.colorize = true;
  if (holes) said.mask = NAME;
  return said;
}

async function restore() {
  const form = new FormData(), holes = $("tools").hidden ? null : await mask();
  const said = damage(holes);
  form.append("file", file);
  if (holes) form.append("beside", holes, NAME);
  for (const input of $("beside").querySelectorAll("input")) {
    if (!input.files.length) continue;
    form.append("beside", input.files[0]);
    said[input.name] = input.files[0].name;
  }
  form.append("damage", JSON.stringify(said));
  form.append("domain", $("kind").value);
  for (const name of ["prior", "method", "samples", "steps", "seed"]) {
    if ($(name).value) form.append(name, $(name).value);
  }
  const status = await (await ask("jobs", { method: "POST", body: form })).json();
  $("shown").removeAttribute("src");
  $("shown").alt = "What the prior sees at this step";
  await follow(status);
}

// Shows a job until it is over, or until another file is asked for.
async function follow(status) {
  const id = job = status.id;
  show("run");
  try {
    await watch(id, status);
  } catch (error) {
    if (job === id) throw error;
  }
}

async function watch(id, status) {
  for (let seen = 0; ["queued", "running"].includes(status.state);) {
    tell(status);
    if (status.step > seen) {
      seen = status.step;
      await preview(id);
    }
    await new Promise((done) => setTimeout(done, POLL));
    if (job !== id) return;
    status = await (await ask(`jobs/${id}`)).json();
  }
  if (job !== id) return;
  if (status.state === "done") return finish(status);
  show("edit");
  if (status.error) throw new Error(status.error);
}

function tell(status) {
  const doing = status.state === "queued" ? "Waiting" : "Restoring";
  if ($("doing").textContent !== doing) $("doing").textContent = doing; // is read aloud
  $("progress").value = status.progress;
  const left = Math.round(status.seconds * (1 / status.progress - 1));
  const jobs = `${status.position} ${status.position === 1 ? "job" : "jobs"}`;
  $("state").textContent = status.state === "queued"
    ? status.position ? `${jobs} before this one.` : "This one is next."
    : status.step ? `Step ${status.step} of ${status.steps}, about ${left} s left.`
    : "Getting ready.";
}

async function preview(id) {
  const answer = await ask(`jobs/${id}/preview.png`);
  if (answer.status === 204) return; // it has ended meanwhile
  const image = new Image();
  image.src = urlOf(await answer.blob());
  await image.decode();
  $("shown").src = image.src;
  $("stage").hidden = false;
  if (!$("given").getAttribute("src")) $("given").src = image.src;
  $("caption").textContent = "What the prior sees at this step";
}

async function finish(status) {
  const files = (await (await ask(`jobs/${job}/files`)).json()).map((one) => one.name);
  const [first, ...others] = status.words;
  $("answer").textContent = first ?? "It is done.";
  $("found").replaceChildren(...[...status.notes, ...others].map((line) => element("p", {}, line)));
  const entries = [
    ["figure.png", "Figure"],
    ["mean.png", "Answer"],
    [STD, "How sure"],
    ...files.filter((name) => /^samples\/.*\.png$/.test(name))
      .map((name, k) => [name, `Sample ${k + 1}`]),
    ...files.filter((name) => /^\d+\.gif$/.test(name)) // motions, the answer first
      .map((name, k) => [name, k ? `Sample ${k + 1}` : "Answer"]),
  ].filter(([name]) => files.includes(name));
  const { scale, spread, before } = status.summary.shown ?? {};
  if (before) {
    $("given").src = await picture(`jobs/${job}/files/${GIVEN}`);
    await $("given").decode();
  }
  $("cut").hidden = !before; // else there is nothing to compare
  $("frame").classList.toggle("whole", !before);
  const buttons = await Promise.all(entries.map(async ([name, title]) => {
    const image = element("img", { src: await picture(`jobs/${job}/files/${name}`), alt: "" });
    await image.decode();
    const button = element("button", { type: "button", title }, image, title);
    button.addEventListener("click", () => {
      for (const other of $("gallery").children) other.ariaPressed = String(other === button);
      [$("shown").src, $("shown").alt] = [image.src, title];
      const [what, how] = name === STD ? ["where samples disagree", spread] : [title.toLowerCase(), scale];
      const line = before ? `${before} at the left, ${what} at the right` : what;
      $("caption").textContent = sentence(how ? `${line}; ${how}` : line);
      fit(image.naturalWidth, image.naturalHeight);
    });
    return button;
  }));
  $("stage").hidden = false; // a quick answer comes before any step was seen
  $("gallery").replaceChildren(...buttons);
  buttons[0].click();
  const links = Object.keys(TITLES).filter((name) => files.includes(name));
  $("downloads").replaceChildren(...links.map((name) => {
    const link = element("a", { className: "button", href: "#", download: name }, TITLES[name]);
    link.addEventListener("click", guarded((event) => save(event, link, name)));
    return link;
  }));
  show("done");
  $("cut").focus({ preventScroll: true });
}

const TITLES = {
  "mean.png": "Answer, PNG", "mean-16bit.png": "Answer, 16 bits", "mean.fits": "Answer, FITS", "mean.npy": "Answer, .npy",
  "mean.nii.gz": "Answer, NIfTI", "000.bvh": "Answer, BVH", "report.html": "Report", "samples.npz": "Samples, .npz",
  "std.png": "How sure, PNG", "recipe.toml": "Recipe", [NAME]: "Holes, PNG",
  "summary.json": "Numbers, JSON",
};

async function save(event, link, name) {
  if (link.href.startsWith("blob:")) return; // it is here already: the browser saves it
  event.preventDefault();
  link.href = await picture(`jobs/${job}/files/${name}`);
  link.click();
}

// Listening

$("file").addEventListener("change", guarded(async () => {
  const [chosen] = $("file").files;
  $("file").value = "";
  if (chosen) await open(chosen);
}));
$("example").addEventListener("click", guarded(async () => {
  const blob = await (await fetch("example.png")).blob();
  await open(new File([blob], "example.png", { type: "image/png" }));
}));
for (const [kind, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.toggle("over", over);
  });
}
document.addEventListener("drop", guarded(async (event) => {
  const [chosen] = event.dataTransfer.files;
  if (chosen && document.body.dataset.view !== "run") await open(chosen);
}));
$("kind").addEventListener("change", guarded(() => look($("kind").value)));
$("form").addEventListener("submit", (event) => event.preventDefault());
$("restore").addEventListener("click", guarded(async () => {
  $("restore").disabled = true;
  try {
    await restore();
  } catch (error) {
    show("edit");
    throw error;
  } finally {
    $("restore").disabled = false;
  }
}));
$("cancel").addEventListener("click", guarded(() => ask(`jobs/${job}/cancel`, { method: "POST" })));
$("change").addEventListener("click", () => show("edit"));
$("again").addEventListener("click", guarded(async () => {
  const old = job;
  job = null;
  show("start");
  if (old) await ask(`jobs/${old}`, { method: "DELETE" });
}));
$("cut").addEventListener("input", () => {
  $("frame").style.setProperty("--cut", `${$("cut").value}%`);
});
$("blur").addEventListener("change", () => {
  $("blur-more").hidden = !$("blur").value;
  $("angle-label").hidden = $("blur").value !== "motion";
  $("blur-size").value = { gauss: 2, disk: 3, motion: 15 }[$("blur").value] ?? "";
});
$("blur").dispatchEvent(new Event("change"));

await guarded(async () => {
  choices = await (await ask("choices")).json();
  $("method").replaceChildren(...choices.methods.map((name) => element("option", {}, name)));
  $("samples").max = choices.limits.samples;
  $("steps").max = choices.limits.steps;
})();
