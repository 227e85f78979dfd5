// Mouse, touch and keys, and the picture that follows them.

const BACKGROUNDS = [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5]];

class Viewer {
  constructor(canvas, settings, splats) {
    this.canvas = canvas;
    this.splats = splats;
    this.camera = new OrbitCamera(settings.view);
    this.antialiased = settings.antialiased;
    this.background = 0;
    this.isTurning = false;
    this.pointers = new Map();
    this.isDirty = true;
    this.renderer = new Renderer(canvas, splats, document.getElementById("sorter").textContent, () => this.redraw());
    this.listen();
    requestAnimationFrame(() => this.frame());
  }

  redraw() {
    this.isDirty = true;
  }

  frame() {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(this.canvas.clientWidth * ratio), height = Math.round(this.canvas.clientHeight * ratio);
    if (this.canvas.width !== width || this.canvas.height !== height) {
      Object.assign(this.canvas, { width, height });
      this.redraw();
    }
    if (this.isTurning) {
      this.camera.rotate(0.005, 0);
      this.redraw();
    }
    if (this.isDirty) {
      this.isDirty = false;
      this.renderer.draw(this.camera.view(height), BACKGROUNDS[this.background], this.antialiased);
    }
    requestAnimationFrame(() => this.frame());
  }

  listen() {
    const canvas = this.canvas;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    });
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.camera.zoom(Math.exp(Math.max(-200, Math.min(200, event.deltaY)) * 0.0015));
      this.redraw();
    }, { passive: false });
    canvas.addEventListener("dblclick", (event) => {
      const { clientWidth, clientHeight } = canvas;
      this.camera.lookAt(event.offsetX, event.offsetY, clientWidth, clientHeight, this.splats.positions);
      this.redraw();
    });
    window.addEventListener("keydown", (event) => this.press(event));
    window.addEventListener("resize", () => this.redraw());
  }

  drag(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    this.pointers.set(event.pointerId, now);
    const dx = now[0] - before[0], dy = now[1] - before[1], height = this.canvas.clientHeight;
    if (others.length) {  // two fingers: each moves the picture by half
      const spread = (place) => Math.hypot(place[0] - others[0][0], place[1] - others[0][1]);
      this.camera.zoom(Math.max(spread(before), 1) / Math.max(spread(now), 1));
      this.camera.pan((-0.5 * dx) / height, (-0.5 * dy) / height);
    } else if (event.buttons & 6 || event.shiftKey) {
      this.camera.pan(-dx / height, -dy / height);
    } else {
      this.camera.rotate((3 * dx) / height, (3 * dy) / height);
    }
    this.redraw();
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const camera = this.camera, step = 0.05;
    const actions = {
      arrowleft: () => camera.rotate(-step, 0), arrowright: () => camera.rotate(step, 0),
      arrowup: () => camera.rotate(0, -step), arrowdown: () => camera.rotate(0, step),
      w: () => camera.advance(step), s: () => camera.advance(-step),
      a: () => camera.pan(-step, 0), d: () => camera.pan(step, 0),
      q: () => camera.pan(0, step), e: () => camera.pan(0, -step),
      "+": () => camera.zoom(0.9), "=": () => camera.zoom(0.9), "-": () => camera.zoom(1 / 0.9),
      r: () => camera.reset(),
      b: () => { this.background = (this.background + 1) % BACKGROUNDS.length; },
      " ": () => { this.isTurning = !this.isTurning; },
      h: () => { const help = document.getElementById("help"); help.hidden = !help.hidden; },
      f: () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()),
    };
    const action = actions[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
    this.redraw();
  }
}

async function start() {
  const status = document.getElementById("status");
  try {
    const source = document.getElementById("splats");
    const settings = JSON.parse(document.getElementById("settings").textContent);
    const splats = await unpackSplats(source.textContent);
    source.remove();
    window.viewer = new Viewer(document.getElementById("view"), settings, splats);
    status.textContent = `${splats.number.toLocaleString()} Gaussians · H for help`;
    setTimeout(() => { status.textContent = ""; }, 5000);
  } catch (error) {
    status.textContent = `cannot show this: ${error.message}`;
  }
}

start();
