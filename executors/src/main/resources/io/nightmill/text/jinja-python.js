// Jinja2 as Python's users know it, on the library's parser and interpreter: Python's str(), operators and truth of values, its methods of
// str, list and dict, Jinja2's scopes of loops, and its filters on values of any type. Templates of chats are lenient about names that are
// not there, and their blocks take the newline behind them; templates of evaluation tasks are strict, and keep every newline.
(function () {
  const { Environment, Interpreter, tokenize, parse } = module.exports;
  const made = (value) => new Environment().set("made", value);
  const StringValue = made("").constructor;
  const IntegerValue = made(0).constructor;
  const FloatValue = made(0.5).constructor;
  const BooleanValue = made(true).constructor;
  const NullValue = made(null).constructor;
  const UndefinedValue = made(undefined).constructor;
  const ArrayValue = made([]).constructor;
  const ObjectValue = made({}).constructor;
  const FunctionValue = made(() => null).constructor;
  const TupleValue = new Interpreter().evaluate({type: "TupleLiteral", value: []}, new Environment()).constructor;
  const STATEMENTS = new Set(["Set", "If", "For", "Macro", "CallStatement", "FilterStatement", "Comment", "Break", "Continue"]);
  const CONTROLS = new Set(["BreakControl", "ContinueControl"]);

  // ---- values

  const text = (s) => new StringValue(s);
  const integer = (n) => new IntegerValue(n);
  const bool = (b) => new BooleanValue(b);
  const list = (values) => new ArrayValue(values);
  const pairs = (object) => [...object.value].map(([key, value]) => new TupleValue([text(key), value]));
  const isString = (v) => v instanceof StringValue;
  const isUndefined = (v) => v instanceof UndefinedValue;
  const isNumber = (v) => v instanceof IntegerValue || v instanceof FloatValue || v instanceof BooleanValue;
  const truth = (v) => v.__bool__().value;
  const pythonName = (v) => ({StringValue: "str", IntegerValue: "int", FloatValue: "float", BooleanValue: "bool", NullValue: "NoneType",
    ArrayValue: "list", TupleValue: "tuple", ObjectValue: "dict", FunctionValue: "function", UndefinedValue: "Undefined"})[v.type] ?? v.type;

  // Java writes objects as ["o", key, value, ...], lists as ["a", ...] and numbers with a fraction as ["f", number]: so keys keep their order.
  const decoded = (value) => {
    if (!Array.isArray(value)) return made(value);
    if (value[0] === "f") return new FloatValue(value[1]);
    if (value[0] === "a") return list(value.slice(1).map(decoded));
    const map = new Map();
    for (let i = 1; i < value.length; i += 2) map.set(value[i], decoded(value[i + 1]));
    return new ObjectValue(map);
  };

  const repr = (s) => {
    const quote = s.includes("'") && !s.includes('"') ? '"' : "'";
    const inner = s.replace(/[\\\n\r\t\x00-\x1f\x7f'"]/g, (c) => {
      switch (c) {
        case "\\": return "\\\\";
        case "\n": return "\\n";
        case "\r": return "\\r";
        case "\t": return "\\t";
        case "'": case '"': return c === quote ? "\\" + c : c;
        default: return "\\x" + c.charCodeAt(0).toString(16).padStart(2, "0");
      }
    });
    return quote + inner + quote;
  };
  const float = (x) => {
    const size = Math.abs(x);
    if (Number.isInteger(x) && size < 1e16) return (Object.is(x, -0) ? "-0" : String(x)) + ".0";
    const plain = String(size !== 0 && (size < 1e-4 || size >= 1e16) ? x.toExponential() : x);
    return plain.replace(/e([+-])(\d)$/, "e$10$2");
  };
  const str = (value, inside) => {
    switch (value.type) {
      case "StringValue": return inside ? repr(value.value) : value.value;
      case "NullValue": return "None";
      case "UndefinedValue": return inside ? "Undefined" : "";
      case "BooleanValue": return value.value ? "True" : "False";
      case "FloatValue": return float(value.value);
      case "ArrayValue": return "[" + value.value.map((v) => str(v, true)).join(", ") + "]";
      case "TupleValue":
        return "(" + value.value.map((v) => str(v, true)).join(", ") + (value.value.length === 1 ? ",)" : ")");
      case "ObjectValue":
        return "{" + [...value.value].map(([k, v]) => repr(k) + ": " + str(v, true)).join(", ") + "}";
      default: return value.toString();
    }
  };
  const equal = (a, b) => {
    if (isNumber(a) && isNumber(b)) return Number(a.value) === Number(b.value);
    if (a.type !== b.type) return false;
    if (a instanceof ArrayValue) return a.value.length === b.value.length && a.value.every((v, i) => equal(v, b.value[i]));
    if (a instanceof ObjectValue) {
      return a.value.size === b.value.size && [...a.value].every(([k, v]) => b.value.has(k) && equal(v, b.value.get(k)));
    }
    return a instanceof NullValue || isUndefined(a) || a.value === b.value;
  };
  const compared = (a, b) => {
    if (isNumber(a) && isNumber(b)) return Number(a.value) - Number(b.value);
    if (isString(a) && isString(b)) return a.value < b.value ? -1 : a.value > b.value ? 1 : 0;
    if (a instanceof ArrayValue && b instanceof ArrayValue) {
      for (let i = 0; i < Math.min(a.value.length, b.value.length); i++) {
        const c = equal(a.value[i], b.value[i]) ? 0 : compared(a.value[i], b.value[i]);
        if (c !== 0) return c;
      }
      return a.value.length - b.value.length;
    }
    throw new Error(`'<' not supported between instances of '${pythonName(a)}' and '${pythonName(b)}'`);
  };
  const items = (value) => {
    if (value instanceof ArrayValue) return value.value;
    if (value instanceof ObjectValue) return value.keys().value;
    if (isString(value)) return Array.from(value.value, text);
    if (isUndefined(value)) return [];
    throw new Error(`'${pythonName(value)}' object is not iterable`);
  };
  const contains = (container, item) => {
    if (isString(container)) {
      if (!isString(item)) throw new Error(`'in <string>' requires string as left operand, not ${pythonName(item)}`);
      return container.value.includes(item.value);
    }
    if (container instanceof ObjectValue) return isString(item) && container.value.has(item.value);
    return items(container).some((v) => equal(v, item));
  };
  const quoted = (s, ascii) => {
    const plain = JSON.stringify(s).replace(/\x7f/g, "\\u007f");
    return ascii ? plain.replace(/[\x80-\uffff]/g, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0")) : plain.replace(/\\u007f/g, "\x7f");
  };
  const json = (value, options, depth = 0) => {
    const [comma, colon] = options.separators ?? [options.indent === null ? ", " : ",", ": "];
    const wrapped = (open, parts, close) => {
      if (options.indent === null || parts.length === 0) return open + parts.join(comma) + close;
      const pad = "\n" + options.indent.repeat(depth);
      return open + pad + options.indent + parts.join(comma + pad + options.indent) + pad + close;
    };
    switch (value.type) {
      case "NullValue": return "null";
      case "BooleanValue": return String(value.value);
      case "IntegerValue": return String(value.value);
      case "FloatValue": return float(value.value);
      case "StringValue": return quoted(value.value, options.ascii);
      case "ArrayValue": case "TupleValue": return wrapped("[", value.value.map((v) => json(v, options, depth + 1)), "]");
      case "ObjectValue": {
        const entries = [...value.value];
        if (options.sorted) entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
        return wrapped("{", entries.map(([k, v]) => quoted(k, options.ascii) + colon + json(v, options, depth + 1)), "}");
      }
      default: throw new Error(`Object of type ${pythonName(value)} is not JSON serializable`);
    }
  };

  // ---- methods

  const fn = (call) => new FunctionValue((args) => call(...args));
  const SPACES = "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000";
  const stripped = (s, chars, left, right) => {
    const set = new Set(chars);
    const all = Array.from(s);
    let from = 0, to = all.length;
    while (left && from < to && set.has(all[from])) from++;
    while (right && to > from && set.has(all[to - 1])) to--;
    return all.slice(from, to).join("");
  };
  const strip = (s, left, right) => fn((chars) => text(stripped(s, chars && isString(chars) ? chars.value : SPACES, left, right)));
  const capitalized = (s) => s.charAt(0).toUpperCase() + s.slice(1).toLowerCase();
  const found = (at, what) => {
    if (at < 0) throw new Error(what);
    return integer(at);
  };
  const parted = (s, at, part) => list(at < 0 ? [s, "", ""].map(text) : [s.slice(0, at), part, s.slice(at + part.length)].map(text));
  const STRING = {
    strip: (s) => strip(s, true, true),
    lstrip: (s) => strip(s, true, false),
    rstrip: (s) => strip(s, false, true),
    index: (s) => fn((part) => found(s.indexOf(part.value), "substring not found")),
    find: (s) => fn((part) => integer(s.indexOf(part.value))),
    rfind: (s) => fn((part) => integer(s.lastIndexOf(part.value))),
    count: (s) => fn((part) => integer(s.split(part.value).length - 1)),
    join: (s) => fn((values) => text(items(values).map((v) => {
      if (!isString(v)) throw new Error(`sequence item: expected str instance, ${pythonName(v)} found`);
      return v.value;
    }).join(s))),
    partition: (s) => fn((part) => parted(s, s.indexOf(part.value), part.value)),
    rpartition: (s) => fn((part) => {
      const at = s.lastIndexOf(part.value);
      return at < 0 ? list(["", "", s].map(text)) : parted(s, at, part.value);
    }),
    rsplit: (s) => fn((by, most) => {
      const parts = s.split(by.value);
      const left = most && most.value >= 0 ? Math.max(0, parts.length - 1 - most.value) : 0;
      return list([...(left > 0 ? [parts.slice(0, left + 1).join(by.value)] : parts.slice(0, 1)), ...parts.slice(left + 1)].map(text));
    }),
    title: (s) => fn(() => text(s.replace(/\p{L}+/gu, capitalized))),
    isdigit: (s) => fn(() => bool(/^\p{Nd}+$/u.test(s))),
    isalpha: (s) => fn(() => bool(/^\p{L}+$/u.test(s))),
    isalnum: (s) => fn(() => bool(/^[\p{L}\p{N}]+$/u.test(s))),
    isspace: (s) => fn(() => bool(s !== "" && stripped(s, SPACES, true, false) === "")),
    isupper: (s) => fn(() => bool(s === s.toUpperCase() && s !== s.toLowerCase())),
    islower: (s) => fn(() => bool(s === s.toLowerCase() && s !== s.toUpperCase())),
    capitalize: (s) => fn(() => text(capitalized(s))),
    removeprefix: (s) => fn((p) => text(s.startsWith(p.value) ? s.slice(p.value.length) : s)),
    removesuffix: (s) => fn((p) => text(p.value && s.endsWith(p.value) ? s.slice(0, -p.value.length) : s)),
    zfill: (s) => fn((n) => text(s.padStart(n.value, "0"))),
    ljust: (s) => fn((n, c) => text(s.padEnd(n.value, c?.value ?? " "))),
    rjust: (s) => fn((n, c) => text(s.padStart(n.value, c?.value ?? " "))),
    splitlines: (s) => fn(() => list(s === "" ? [] : s.replace(/(\r\n|\r|\n)$/, "").split(/\r\n|\r|\n/).map(text))),
  };
  const ARRAY = {
    index: (values) => fn((item) => found(values.findIndex((v) => equal(v, item)), str(item, true) + " is not in list")),
    count: (values) => fn((item) => integer(values.filter((v) => equal(v, item)).length)),
  };

  const OBJECT = {
    items: (object) => fn(() => list(pairs(object))),
    keys: (object) => fn(() => object.keys()),
    values: (object) => fn(() => object.values()),
    get: (object) => fn((key, otherwise) => (isString(key) && object.value.get(key.value)) || otherwise || new NullValue()),
  };

  // ---- tests and filters

  const TESTS = new Map([
    ["iterable", (v) => v instanceof ArrayValue || v instanceof ObjectValue || isString(v) || isUndefined(v)],
    ["sequence", (v) => v instanceof ArrayValue || v instanceof ObjectValue || isString(v) || isUndefined(v)],
    ["number", isNumber],
    ["float", (v) => v instanceof FloatValue],
    ["in", (v, container) => contains(container, v)],
    ...["eq", "equalto", "=="].map((name) => [name, equal]),
    ...["ne", "!="].map((name) => [name, (a, b) => !equal(a, b)]),
    ...["lt", "<", "lessthan"].map((name) => [name, (a, b) => compared(a, b) < 0]),
    ...["gt", ">", "greaterthan"].map((name) => [name, (a, b) => compared(a, b) > 0]),
    ...["le", "<="].map((name) => [name, (a, b) => compared(a, b) <= 0]),
    ...["ge", ">="].map((name) => [name, (a, b) => compared(a, b) >= 0]),
  ]);
  TESTS.forEach((test, name) => Environment.TESTS.set(name, test));
  const tested = (args) => {
    if (args.length === 0) return truth;
    const test = Environment.TESTS.get(args[0].value);
    if (!test) throw new Error(`No test named '${args[0].value}'.`);
    return (v) => test(v, ...args.slice(1));
  };
  const attribute = (value, path) => String(path.value).split(".").reduce((at, part) => {
    if (at instanceof ObjectValue || at.type === "NamespaceValue") return at.value.get(part) ?? new UndefinedValue();
    if (at instanceof ArrayValue && /^\d+$/.test(part)) return at.value[Number(part)] ?? new UndefinedValue();
    return new UndefinedValue();
  }, value);
  const keyed = (args, named, at) => {
    const path = named.get("attribute") ?? args[at];
    return path && !(path instanceof NullValue) ? (v) => attribute(v, path) : (v) => v;
  };
  const lowered = (v) => (isString(v) ? text(v.value.toLowerCase()) : v);
  const sorted = (values, key, cased, reverse) => {
    const folded = (v) => (cased ? key(v) : lowered(key(v)));
    return values.slice().sort((a, b) => (reverse ? -1 : 1) * compared(folded(a), folded(b)));
  };
  /** Filters that Jinja2 has for values of any type; each gets the value, its arguments and the named ones. */
  const FILTERS = {
    string: (v) => text(str(v, false)),
    trim: (v, [chars]) => text(stripped(str(v, false), chars && isString(chars) ? chars.value : SPACES, true, true)),
    upper: (v) => text(str(v, false).toUpperCase()),
    lower: (v) => text(str(v, false).toLowerCase()),
    capitalize: (v) => text(capitalized(str(v, false))),
    title: (v) => text(str(v, false).split(/([-\s({[<]+)/).map(capitalized).join("")),
    replace: (v, [from, to, count]) => {
      let left = count && count instanceof IntegerValue ? count.value : Infinity;
      return text(str(v, false).split(str(from, false)).reduce((all, part) => all + (left-- > 0 ? str(to, false) : str(from, false)) + part));
    },
    length: (v) => integer(isString(v) ? Array.from(v.value).length : items(v).length),
    count: (v) => FILTERS.length(v),
    list: (v) => list(items(v).slice()),
    first: (v) => items(v)[0] ?? new UndefinedValue(),
    last: (v) => items(v).at(-1) ?? new UndefinedValue(),
    reverse: (v) => (isString(v) ? text(Array.from(v.value).reverse().join("")) : list(items(v).slice().reverse())),
    join: (v, args, named) => {
      const by = args[0] ?? named.get("d") ?? text("");
      return text(items(v).map(keyed(args, named, 1)).map((item) => str(item, false)).join(str(by, false)));
    },
    items: (v) => list(isUndefined(v) ? [] : pairs(v)),
    dictsort: (v, args, named) => {
      const [cased, by, reverse] = ["case_sensitive", "by", "reverse"].map((key, i) => named.get(key) ?? args[i]);
      const at = by && by.value === "value" ? 1 : 0;
      return list(sorted(pairs(v), (pair) => pair.value[at], cased !== undefined && truth(cased), reverse !== undefined && truth(reverse)));
    },
    map: (v, args, named, self, environment) => {
      if (named.has("attribute")) {
        const otherwise = named.get("default");
        return list(items(v).map(keyed([], named, 0)).map((item) => (isUndefined(item) && otherwise ? otherwise : item)));
      }
      const [filter, ...more] = args;
      return list(items(v).map((item) => self.filtered(item, filter.value, more, named, environment)));
    },
    select: (v, args) => list(items(v).filter(tested(args))),
    reject: (v, args) => list(items(v).filter((item) => !tested(args)(item))),
    selectattr: (v, [path, ...test]) => list(items(v).filter((item) => tested(test)(attribute(item, path)))),
    rejectattr: (v, [path, ...test]) => list(items(v).filter((item) => !tested(test)(attribute(item, path)))),
    sort: (v, args, named) => list(sorted(items(v), keyed(args, named, 2), truth(named.get("case_sensitive") ?? args[1] ?? bool(false)),
      truth(named.get("reverse") ?? args[0] ?? bool(false)))),
    unique: (v, args, named) => {
      const seen = [];
      return list(items(v).filter((item) => {
        const key = lowered(keyed(args, named, 1)(item));
        return !seen.some((one) => equal(one, key)) && seen.push(key);
      }));
    },
    min: (v, args, named) => sorted(items(v), keyed(args, named, 1), false, false)[0] ?? new UndefinedValue(),
    max: (v, args, named) => sorted(items(v), keyed(args, named, 1), false, true)[0] ?? new UndefinedValue(),
    sum: (v, args, named) => items(v).map(keyed(args, named, 0)).reduce((all, one) =>
      (all instanceof FloatValue || one instanceof FloatValue ? new FloatValue(all.value + one.value) : integer(all.value + Number(one.value))), integer(0)),
    default: (v, args, named) => {
      const otherwise = args[0] ?? named.get("default_value") ?? text("");
      return isUndefined(v) || (truth(args[1] ?? named.get("boolean") ?? bool(false)) && !truth(v)) ? otherwise : v;
    },
    d: (v, args, named) => FILTERS.default(v, args, named),
    tojson: (v, args, named) => {
      const indent = named.get("indent") ?? args[1] ?? new NullValue();
      const separators = named.get("separators") ?? args[2] ?? new NullValue();
      return text(json(v, {
        ascii: truth(named.get("ensure_ascii") ?? args[0] ?? bool(false)),
        indent: indent instanceof NullValue ? null : isString(indent) ? indent.value : " ".repeat(indent.value),
        separators: separators instanceof NullValue ? null : separators.value.map((s) => s.value),
        sorted: truth(named.get("sort_keys") ?? args[3] ?? bool(false)),
      }));
    },
    regex_replace: (v, args, named) => {
      const at = (i, key) => args[i] ?? named.get(key);
      const pattern = at(0, "pattern").value.replace(/\(\?P</g, "(?<");
      const to = (at(1, "value")?.value ?? "").replace(/\$/g, "$$$$").replace(/\\(\d)/g, "$$$1").replace(/\\g<(\w+)>/g, "$$<$1>");
      let left = at(2, "count")?.value || Infinity;
      const one = new RegExp(pattern, "u");
      return text(v.value.replace(new RegExp(pattern, "gu"), (...match) => (left-- > 0 ? match[0].replace(one, to) : match[0])));
    },
  };

  const name = (node) => {
    switch (node.type) {
      case "Identifier": case "StringLiteral": return String(node.value);
      case "MemberExpression": return name(node.object) + (node.computed ? "[…]" : "." + name(node.property));
      default: return node.type;
    }
  };

  class Python extends Interpreter {
    constructor(environment, strict) {
      super(environment);
      this.strict = strict;
    }

    evaluateBlock(statements, environment) {
      let result = "";
      for (const statement of statements) {
        let value;
        try {
          value = this.evaluate(statement, environment);
        } catch (e) {
          // What a block has written before it breaks off stays.
          if (CONTROLS.has(e.constructor.name)) e.written = result + (e.written ?? "");
          throw e;
        }
        if (STATEMENTS.has(statement.type)) {
          if (isString(value)) result += value.value;
        } else if (isUndefined(value) && this.strict) {
          throw new Error("undefined: " + name(statement));
        } else {
          result += str(value, false);
        }
      }
      return text(result);
    }

    evaluateBinaryExpression(node, environment) {
      const operator = node.operator.value;
      const left = this.evaluate(node.left, environment);
      if (operator === "and") return truth(left) ? this.evaluate(node.right, environment) : left;
      if (operator === "or") return truth(left) ? left : this.evaluate(node.right, environment);
      const right = this.evaluate(node.right, environment);
      switch (operator) {
        case "==": return bool(equal(left, right));
        case "!=": return bool(!equal(left, right));
        case "~": return text(str(left, false) + str(right, false));
        case "in": return bool(contains(right, left));
        case "not in": return bool(!contains(right, left));
      }
      for (const [side, value] of [[node.left, left], [node.right, right]]) {
        if (isUndefined(value)) throw new Error("undefined: " + name(side));
      }
      switch (operator) {
        case "<": return bool(compared(left, right) < 0);
        case ">": return bool(compared(left, right) > 0);
        case "<=": return bool(compared(left, right) <= 0);
        case ">=": return bool(compared(left, right) >= 0);
      }
      if (operator === "+" && isString(left) && isString(right)) return text(left.value + right.value);
      if (operator === "+" && left instanceof ArrayValue && left.type === right.type) {
        return new left.constructor(left.value.concat(right.value));
      }
      if (operator === "*" && left instanceof IntegerValue && !isNumber(right)) return this.repeated(right, left);
      if (operator === "*" && right instanceof IntegerValue && !isNumber(left)) return this.repeated(left, right);
      if (isNumber(left) && isNumber(right)) {
        const a = Number(left.value), b = Number(right.value);
        if (["/", "//", "%"].includes(operator) && b === 0) throw new Error("division by zero");
        const whole = !(left instanceof FloatValue || right instanceof FloatValue) && operator !== "/" && !(operator === "**" && b < 0);
        const result = {"+": a + b, "-": a - b, "*": a * b, "/": a / b, "//": Math.floor(a / b), "%": a - b * Math.floor(a / b), "**": a ** b}[operator];
        if (result !== undefined) return whole ? integer(result) : new FloatValue(result);
      }
      throw new Error(operator === "+" && isString(left)
        ? `can only concatenate str (not "${pythonName(right)}") to str`
        : `unsupported operand type(s) for ${operator}: '${pythonName(left)}' and '${pythonName(right)}'`);
    }

    repeated(value, count) {
      const times = Math.max(0, count.value);
      if (isString(value)) return text(value.value.repeat(times));
      if (value instanceof ArrayValue) return list(Array.from({length: times}, () => value.value).flat());
      throw new Error(`can't multiply sequence by non-int of type '${pythonName(value)}'`);
    }

    evaluateMemberExpression(expr, environment) {
      const slice = expr.computed && expr.property.type === "SliceExpression";
      const object = this.evaluate(expr.object, environment);
      if (isUndefined(object)) throw new Error("undefined: " + name(expr.object));
      if (slice) return this.evaluateSliceExpression(object, expr.property, environment);
      if (!expr.computed && expr.property.type === "Identifier") {
        const key = expr.property.value;
        const own = isString(object) ? STRING : object instanceof ArrayValue ? ARRAY : {};
        if (Object.hasOwn(own, key)) return own[key](object.value);
        // Attributes go before items here, and behind them in brackets: a dict's methods before its keys.
        if (object.type === "ObjectValue" && Object.hasOwn(OBJECT, key)) return OBJECT[key](object);
      }
      if (object instanceof ObjectValue && expr.computed) {
        const key = this.evaluate(expr.property, environment);
        if (!isString(key)) return new UndefinedValue();
        return object.value.get(key.value) ?? (Object.hasOwn(OBJECT, key.value) ? OBJECT[key.value](object) : new UndefinedValue());
      }
      return super.evaluateMemberExpression(expr, environment);
    }

    /** Each turn has a scope of its own, so that what it sets is gone in the next. */
    evaluateFor(node, environment) {
      const filter = node.iterable.type === "SelectExpression" ? node.iterable.test : null;
      const source = this.evaluate(filter ? node.iterable.lhs : node.iterable, environment);
      if (this.strict && isUndefined(source)) throw new Error("undefined: " + name(node.iterable));
      const bound = (value) => {
        const scope = new Environment(environment);
        const unpack = (target, from) => {
          if (target.type === "Identifier") {
            scope.setVariable(target.value, from);
            return;
          }
          const parts = items(from);
          if (parts.length !== target.value.length) throw new Error(`expected ${target.value.length} values to unpack, got ${parts.length}`);
          target.value.forEach((one, i) => unpack(one, parts[i]));
        };
        unpack(node.loopvar, value);
        return scope;
      };
      const values = items(source).filter((value) => !filter || truth(this.evaluate(filter, bound(value))));
      if (values.length === 0) return this.evaluateBlock(node.defaultBlock, new Environment(environment));
      let result = "";
      let last = null;
      for (let i = 0; i < values.length; i++) {
        const scope = bound(values[i]);
        scope.setVariable("loop", new ObjectValue(new Map(Object.entries({
          index: integer(i + 1), index0: integer(i), revindex: integer(values.length - i), revindex0: integer(values.length - i - 1),
          first: bool(i === 0), last: bool(i === values.length - 1), length: integer(values.length),
          previtem: values[i - 1] ?? new UndefinedValue(), nextitem: values[i + 1] ?? new UndefinedValue(),
          cycle: fn((...choices) => choices[i % choices.length]),
          changed: fn((...now) => {
            const before = last;
            last = list(now);
            return bool(before === null || !equal(before, last));
          }),
        }))));
        try {
          result += this.evaluateBlock(node.body, scope).value;
        } catch (e) {
          if (!CONTROLS.has(e.constructor.name)) throw e;
          result += e.written ?? "";
          if (e.constructor.name === "BreakControl") break;
        }
      }
      return text(result);
    }

    applyFilter(operand, filter, environment) {
      const called = filter.type === "CallExpression";
      const filterName = called ? filter.callee.value : filter.value;
      if (this.strict && isUndefined(operand) && !["default", "d"].includes(filterName)) throw new Error("the filtered value is undefined");
      if (Object.hasOwn(FILTERS, filterName)) {
        const [args, named] = called ? this.evaluateArguments(filter.args, environment) : [[], new Map()];
        return FILTERS[filterName](operand, args, named, this, environment);
      }
      return super.applyFilter(operand, filter, environment);
    }

    /** By a filter's name, for map. */
    filtered(operand, filterName, args, named, environment) {
      if (Object.hasOwn(FILTERS, filterName)) return FILTERS[filterName](operand, args, named, this, environment);
      return super.applyFilter(operand, {type: "Identifier", value: filterName}, environment);
    }
  }

  // ---- templates

  const two = (n) => String(n).padStart(2, "0");
  const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
  const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
  const strftime = (format) => {
    const now = new Date();
    const codes = {Y: now.getFullYear(), y: two(now.getFullYear() % 100), m: two(now.getMonth() + 1), d: two(now.getDate()), H: two(now.getHours()),
      I: two(now.getHours() % 12 || 12), M: two(now.getMinutes()), S: two(now.getSeconds()), p: now.getHours() < 12 ? "AM" : "PM",
      A: DAYS[now.getDay()], a: DAYS[now.getDay()].slice(0, 3), B: MONTHS[now.getMonth()], b: MONTHS[now.getMonth()].slice(0, 3),
      "-d": now.getDate(), "-m": now.getMonth() + 1, "%": "%"};
    return format.replace(/%(-?[a-zA-Z%])/g, (whole, code) => (code in codes ? codes[code] : whole));
  };
  const GLOBALS = {true: true, True: true, false: false, False: false, none: null, None: null};
  const range = (...bounds) => {
    const [from, to, step] = [bounds.length > 1 ? bounds[0].value : 0, bounds[bounds.length > 1 ? 1 : 0].value, bounds[2]?.value ?? 1];
    const values = [];
    for (let i = from; step > 0 ? i < to : i > to; i += step) values.push(integer(i));
    return list(values);
  };

  const parsed = {true: new Map(), false: new Map()};
  const program = (source, strict) => {
    const known = parsed[strict];
    if (!known.has(source)) {
      const lines = source.replace(/\r\n|\r/g, "\n");
      // The library drops a last newline, as Jinja2 does unless it is told otherwise.
      known.set(source, strict
        ? parse(tokenize(lines.endsWith("\n") ? lines + "\n" : lines, {}))
        : parse(tokenize(lines, {lstrip_blocks: true, trim_blocks: true})));
    }
    return known.get(source);
  };
  /** Renders a template over an object; a chat's where strict is false. Without values, the template is only read. */
  return function (source, strict, values) {
    const body = program(source, strict);
    if (values === "") return "";
    const environment = new Environment();
    for (const [key, value] of Object.entries(GLOBALS)) environment.set(key, value);
    environment.setVariable("range", fn(range));
    environment.setVariable("dict", new FunctionValue((args) => new ObjectValue(new Map(args.at(-1)?.value ?? []))));
    if (!strict) {
      environment.setVariable("strftime_now", fn((format) => text(strftime(format.value))));
      environment.setVariable("raise_exception", fn((message) => {
        throw new Error(str(message, false));
      }));
    }
    for (const [key, value] of decoded(JSON.parse(values)).value) environment.setVariable(key, value);
    return new Python(environment, strict).run(body).value;
  };
})()
