// Watch the game: plays the rounds that tools/watch.py wrote, in each [data-watch] of the page.
// A round has three steps: train, choose, answer. The root's attribute says which rounds it has.
(() => {
const PHASES = ['train', 'choose', 'answer'], SIDE = 480, BINS = 24;
const DOT = 'M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0';
const SHAPES = [   // of the classes: triangle up, triangle down, circle, square
  'M0-8L7 5H-7Z', 'M0 8L7-5H-7Z', 'M-6 0a6 6 0 1 0 12 0a6 6 0 1 0-12 0', 'M-5.5-5.5h11v11h-11Z'];
const CHOOSE = {
  min: 'The rings: the five smallest d. To D they look least labelled.',
  diverse: 'The rings: one dot from each of five clusters of the 50 smallest d.',
  margin: 'The rings: the five dots where C wavers most between two classes. D has no say.',
  random: 'The rings: five grey dots, drawn at random. D has no say.'};

function element(parent, tag, attrs = {}, text = '') {
  const space = tag === 'svg' ? 'http://www.w3.org/2000/svg' : parent.namespaceURI;
  const o = document.createElementNS(space, tag);
  for (const [name, value] of Object.entries(attrs)) o.setAttribute(name, value);
  o.textContent = text;
  return parent.appendChild(o);
}

const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
const shown = x => x.toFixed(2).replace('-', '−');
const move = (o, [x, y], by = 1) => {
  o.style.transform = `translate(${x}px, ${y}px) scale(${by})`;
};
const count = (many, test) => many.reduce((n, o) => n + test(o), 0);

// A frame with numbers for its bytes, and who was labelled before it
function unpacked(frame, labelled) {
  const z = bytes(frame.z), scale = (frame.hi - frame.lo)/255;
  const d = [...bytes(frame.d)].map(o => frame.lo + scale*o);
  const at = d.map((_, i) => [z[2*i]*SIDE/255, SIDE - z[2*i + 1]*SIDE/255]);
  const order = d.map((_, i) => i).sort((i, j) => d[i] - d[j]);
  return {...frame, d, at, order, D: bytes(frame.D), labelled: new Set(labelled)};
}

// The plane tinted by D in ten steps, with a line where a step ends
function paint(canvas, D, n) {
  const pen = canvas.getContext('2d'), image = pen.createImageData(SIDE, SIDE);
  const band = (px, py) => {
    const x = px*(n - 1)/SIDE, y = (SIDE - 1 - py)*(n - 1)/SIDE;
    const i = Math.floor(x), j = Math.floor(y), u = x - i, v = y - j, k = j*n + i;
    const low = D[k]*(1 - u) + D[k + 1]*u, high = D[k + n]*(1 - u) + D[k + n + 1]*u;
    return Math.floor((low*(1 - v) + high*v)/25.6);
  };
  let above = new Array(SIDE).fill(0);
  for (let py = 0; py < SIDE; py++) {
    const row = above.map((_, px) => band(px, py));
    for (let px = 0; px < SIDE; px++) {
      const isLine = py && row[px] !== above[px] || px && row[px] !== row[px - 1];
      image.data.set([0, 114, 178, 20*row[px] + (isLine ? 60 : 0)], 4*(py*SIDE + px));
    }
    above = row;
  }
  pen.putImageData(image, 0, 0);
}

class Player {
  constructor(root, data) {
    Object.assign(this, {root, data, step: 0, row: null, timer: 0});
    this.isSmall = root.dataset.watch !== '';
    this.size = this.isSmall ? 1.4 : 1;
    this.lam = data.runs['0.1'] ? '0.1' : Object.keys(data.runs)[0];
    this.rule = Object.keys(data.runs[this.lam])[0];
    root.replaceChildren();
    this.build();
    this.load();
  }

  get frame() { return this.frames[Math.floor(this.step/3)]; }
  get phase() { return this.step%3; }

  build() {
    const root = this.root;
    if (!this.isSmall) {
      const top = element(root, 'div', {class: 'watch-choices'});
      this.choice(top, 'weight of the game, λ₄', 'lam', Object.keys(this.data.runs).sort());
      this.choice(top, 'rule', 'rule', Object.keys(this.data.runs[this.lam]));
    }
    const plane = element(root, 'div', {class: 'watch-plane'});
    this.canvas = element(plane, 'canvas', {width: SIDE, height: SIDE, 'aria-hidden': true});
    this.plane = element(plane, 'svg', {viewBox: `0 0 ${SIDE} ${SIDE}`, role: 'img'});
    const parts = (tag, n, attrs) =>
      Array.from({length: n}, () => element(this.plane, tag, attrs));
    this.dots = parts('path', this.data.y.length, {d: DOT, class: 'dot'});
    this.marks = parts('path', 100);    // of labelled dots
    this.rings = parts('circle', 5, {r: 12});
    this.here = element(this.plane, 'circle', {r: 18, class: 'here none'});
    const side = element(root, 'div', {class: 'watch-side'});
    this.buttons(element(side, 'div', {class: 'watch-buttons'}));
    this.caption = element(side, 'p', {class: 'watch-caption', role: 'status'});
    if (this.isSmall) return;
    this.buildDetails(side);
    this.buildLogits();
  }

  choice(parent, title, what, values) {
    const box = element(parent, 'fieldset');
    element(box, 'legend', {}, title);
    for (const value of values) {
      const label = element(box, 'label');
      const radio = element(label, 'input', {type: 'radio', name: `watch-${what}`, value});
      element(label, 'span', {}, value);
      radio.checked = value === this[what];
      radio.addEventListener('change', () => { this[what] = value; this.load(); });
    }
  }

  buttons(bar) {
    const button = (text, act) => {
      const o = element(bar, 'button', {type: 'button'}, text);
      o.addEventListener('click', act);
      return o;
    };
    this.back = button('Back', () => this.go(this.step - 1));
    this.play = button('Play', () => this.toggle());
    this.next = button('Step', () => this.go(this.step + 1));
  }

  slider(parent, title, max, act) {
    const label = element(parent, 'label', {class: 'watch-slider'});
    element(label, 'span', {}, title);
    const o = element(label, 'input', {type: 'range', min: 0, max, value: 0});
    o.addEventListener('input', act);
    return o;
  }

  buildLogits() {
    const below = element(this.root, 'div', {class: 'watch-logits'});
    this.scale = element(below, 'p');
    this.logits = element(below, 'svg', {viewBox: `0 0 ${SIDE} 200`, role: 'img'});
  }

  buildDetails(side) {
    this.round = this.slider(side, 'round', 7, () => this.go(3*this.round.value));
    const pointRank = () => this.point(this.frame.order[this.rank.value]);
    this.rank = this.slider(side, 'dots, by d', this.dots.length - 1, pointRank);
    this.rank.addEventListener('focus', pointRank);
    this.read = element(side, 'p', {class: 'watch-read'});
    this.legend(side);
    for (const kind of ['pointermove', 'pointerdown']) {
      this.plane.addEventListener(kind, event => this.point(this.nearest(event)));
    }
  }

  legend(more) {
    const list = element(more, 'ul', {class: 'watch-legend'});
    const entry = (path, name, text) => {
      const o = element(list, 'li');
      const icon = element(o, 'svg', {viewBox: '-13 -13 26 26', 'aria-hidden': true});
      element(icon, 'path', {d: path, class: name});
      element(o, 'span', {}, text);
    };
    entry(DOT, 'dot', 'no label');
    this.data.classes.forEach((name, k) => entry(SHAPES[k], `class${k}`, name));
    entry('M-11 0a11 11 0 1 0 22 0a11 11 0 1 0-22 0', 'ring', 'chosen');
  }

  // Another run: the step stays
  load() {
    const labelled = [...this.data.first];
    this.frames = this.data.runs[this.lam][this.rule].map(frame => {
      const o = unpacked(frame, labelled);
      labelled.push(...frame.asked);
      return o;
    });
    this.painted = null;
    this.draw();
  }

  go(step) {
    this.step = Math.max(0, Math.min(3*this.frames.length - 1, step));
    this.draw();
  }

  toggle() {
    const last = 3*this.frames.length - 1;
    if (this.timer) return this.stop();
    if (this.step === last) this.step = -1;
    const tick = () => {
      this.go(this.step + 1);
      if (this.step === last) this.stop();
    };
    this.timer = setInterval(tick, 1600);
    this.play.textContent = 'Pause';
    this.caption.setAttribute('role', 'none');   // or it is read aloud faster than anybody listens
    tick();
  }

  stop() {
    clearInterval(this.timer);
    this.timer = 0;
    this.play.textContent = 'Play';
    this.caption.setAttribute('role', 'status');
  }

  draw() {
    const {frame, phase, data} = this, round = Math.floor(this.step/3);
    if (this.painted !== frame) paint(this.canvas, frame.D, data.grid);
    this.painted = frame;
    this.dots.forEach((dot, i) => move(dot, frame.at[i], this.size));
    const known = [...frame.labelled, ...(phase === 2 ? frame.asked : [])];
    this.marks.forEach((mark, k) => {
      mark.setAttribute('class', k < known.length ? `class${data.y[known[k]]}` : 'none');
      if (k >= known.length) return;
      mark.setAttribute('d', SHAPES[data.y[known[k]]]);
      move(mark, frame.at[known[k]], this.size);
    });
    this.rings.forEach((ring, k) => {
      const i = frame.asked[k];
      move(ring, frame.at[i], this.size);
      ring.setAttribute('class', ['none', 'ring', `ring class${data.y[i]}`][phase]);
    });
    this.caption.replaceChildren();
    element(this.caption, 'strong', {}, `Round ${round}, ${PHASES[phase]}. `);
    this.caption.append(this.sentence());
    this.plane.setAttribute('aria-label', `Codes over D's contours. ${this.caption.textContent}`);
    if (this.isSmall) return;
    this.round.value = round;
    this.round.setAttribute('aria-valuetext', `round ${round}, ${PHASES[phase]}`);
    const [across, up] = frame.low.map((low, k) => `${shown(low)} to ${shown(frame.high[k])}`);
    this.scale.textContent = `Across: z₁ from ${across}. Up: z₂ from ${up}.`;
    this.drawLogits();
    this.point(this.row);
  }

  sentence() {
    const {frame, phase, data} = this;
    const right = Math.round(100*frame.accuracy);
    if (phase === 0) {
      return `All networks learn from ${frame.labelled.size} labels, and C is right on ${right} %. `
        + 'The bluer the ground, the more labelled it looks to D.';
    }
    if (phase === 1) return CHOOSE[this.rule];
    const said = data.classes.map((name, k) => [count(frame.asked, i => data.y[i] === k), name]);
    const list = said.filter(([n]) => n).map(([n, name]) => `${n} × ${name}`).join(', ');
    return `The answers: ${list}. Each ring takes the colour of its class.`;
  }

  drawLogits() {
    const {frame, phase, logits: svg} = this, middle = 100, tall = 70;
    const x = d => 10 + (SIDE - 20)*(d - frame.lo)/(frame.hi - frame.lo);
    const pools = [[], []];
    frame.d.forEach((d, i) => pools[+frame.labelled.has(i)].push(d));
    const width = (frame.hi - frame.lo)/BINS;
    const bin = d => Math.min(BINS - 1, Math.floor((d - frame.lo)/width));
    const shares = pools.map(o => Array.from({length: BINS},
      (_, k) => count(o, d => bin(d) === k)/o.length));
    const top = Math.max(...shares.flat());
    svg.replaceChildren();
    shares.forEach((pool, isL) => pool.forEach((share, k) => {
      const height = share/top*tall;
      element(svg, 'rect', {x: x(frame.lo + k*width) + .5, y: isL ? middle : middle - height,
        width: (SIDE - 20)/BINS - 1, height, class: isL ? 'labelled' : 'dot'});
    }));
    element(svg, 'path', {d: `M10 ${middle}H${SIDE - 10}`, class: 'line'});
    const cut = frame.d[frame.order[this.data.cut[this.rule] - 1]];
    const isCut = phase && cut !== undefined;
    if (phase) {
      for (const i of frame.asked) {
        element(svg, 'path', {d: `M${x(frame.d[i])} ${middle}l-5 9h10Z`, class: 'asked'});
      }
      if (isCut) element(svg, 'path', {d: `M${x(cut) + 1} 26V174`, class: 'cut'});
    }
    const text = (at, y, anchor, s) => element(svg, 'text', {x: at, y, 'text-anchor': anchor}, s);
    ['dot', 'labelled'].forEach((name, isL) => {
      element(svg, 'rect', {x: 10 + 180*isL, y: 4, width: 12, height: 12, class: name});
      text(28 + 180*isL, 16, 'start', `${isL ? 'labelled' : 'unlabelled'} (${pools[isL].length})`);
    });
    if (isCut) text(SIDE - 10, 16, 'end', 'dashed: the cut');
    text(10, 194, 'start', shown(frame.lo));
    text(SIDE/2, 194, 'middle', 'd (small: looks unlabelled)');
    text(SIDE - 10, 194, 'end', shown(frame.hi));
    const mean = pools.map(o => shown(o.reduce((a, b) => a + b)/o.length));
    svg.setAttribute('aria-label', `Histograms of d. Its mean is ${mean[0]} on unlabelled dots `
      + `and ${mean[1]} on labelled ones.` + (isCut ? ` Cut at ${shown(cut)}.` : ''));
  }

  nearest(event) {
    const box = this.plane.getBoundingClientRect(), scale = SIDE/box.width;
    const x = scale*(event.clientX - box.left), y = scale*(event.clientY - box.top);
    const far = ([u, v]) => (u - x)**2 + (v - y)**2;
    return this.frame.at.reduce((best, o, i, all) => far(o) < far(all[best]) ? i : best, 0);
  }

  // Say what D thinks of one dot
  point(row) {
    this.row = row;
    this.here.classList.toggle('none', row === null);
    if (row === null) {
      this.read.textContent = 'Point at a dot, or move the slider: it goes from the smallest d up.';
      return;
    }
    const {frame, data} = this, d = frame.d[row];
    move(this.here, frame.at[row]);
    const name = frame.labelled.has(row) ? data.classes[data.y[row]] : 'no label';
    const chosen = this.phase && frame.asked.includes(row) ? ', chosen' : '';
    this.rank.value = frame.order.indexOf(row);
    this.read.textContent = `d = ${shown(d)}, so D = ${shown(1/(1 + Math.exp(-d)))}. `
      + `Place ${+this.rank.value + 1} of ${frame.d.length}: ${name}${chosen}.`;
    this.rank.setAttribute('aria-valuetext', this.read.textContent);
  }
}

for (const root of document.querySelectorAll('[data-watch]')) {
  new Player(root, JSON.parse(root.querySelector('script').textContent));
}
})();
