// Jinja2 as Python's users know it, on the library's parser and interpreter: strict about names, Python's str() of values, and the
// methods of Python's str and list that the library lacks.
(function () {
  const { Environment, Interpreter, tokenize, parse } = module.exports;
  const made = (value) => new Environment().set("made", value);
  const StringValue = made("").constructor;
  const IntegerValue = made(0).constructor;
  const BooleanValue = made(true).constructor;
  const ArrayValue = made([]).constructor;
  const FunctionValue = made(() => null).constructor;
  const STATEMENTS = new Set(["Set", "If", "For", "Macro", "CallStatement", "FilterStatement", "Comment", "Break", "Continue"]);

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
  const str = (value, inside) => {
    switch (value.type) {
      case "StringValue": return inside ? repr(value.value) : value.value;
      case "NullValue": return "None";
      case "BooleanValue": return value.value ? "True" : "False";
      case "FloatValue": return Number.isInteger(value.value) ? value.value + ".0" : String(value.value);
      case "ArrayValue": return "[" + value.value.map((v) => str(v, true)).join(", ") + "]";
      case "TupleValue":
        return "(" + value.value.map((v) => str(v, true)).join(", ") + (value.value.length === 1 ? ",)" : ")");
      case "ObjectValue":
        return "{" + [...value.value].map(([k, v]) => repr(k) + ": " + str(v, true)).join(", ") + "}";
      default: return value.toString();
    }
  };
  const same = (a, b) => a.type === b.type && str(a, true) === str(b, true);

  const fn = (call) => new FunctionValue((args) => call(...args));
  const integer = (n) => new IntegerValue(n);
  const stripped = (s, chars, left, right) => {
    const set = new Set(chars);
    const all = Array.from(s);
    let from = 0, to = all.length;
    while (left && from < to && set.has(all[from])) from++;
    while (right && to > from && set.has(all[to - 1])) to--;
    return all.slice(from, to).join("");
  };
  const strip = (s, left, right) => fn((chars) => new StringValue(
    chars && chars.type === "StringValue" ? stripped(s, chars.value, left, right)
      : left && right ? s.trim() : left ? s.trimStart() : s.trimEnd()));
  const found = (at, what) => {
    if (at < 0) throw new Error(what);
    return integer(at);
  };
  const STRING = {
    strip: (s) => strip(s, true, true),
    lstrip: (s) => strip(s, true, false),
    rstrip: (s) => strip(s, false, true),
    index: (s) => fn((part) => found(s.indexOf(part.value), "substring not found")),
    find: (s) => fn((part) => integer(s.indexOf(part.value))),
    rfind: (s) => fn((part) => integer(s.lastIndexOf(part.value))),
    count: (s) => fn((part) => integer(s.split(part.value).length - 1)),
    join: (s) => fn((list) => new StringValue(list.value.map((v) => v.value).join(s))),
    isdigit: (s) => fn(() => new BooleanValue(/^\p{Nd}+$/u.test(s))),
    isupper: (s) => fn(() => new BooleanValue(s === s.toUpperCase() && s !== s.toLowerCase())),
    islower: (s) => fn(() => new BooleanValue(s === s.toLowerCase() && s !== s.toUpperCase())),
    // Python lowers all but the first character; the library leaves them.
    capitalize: (s) => fn(() => new StringValue(s.charAt(0).toUpperCase() + s.slice(1).toLowerCase())),
    removeprefix: (s) => fn((p) => new StringValue(s.startsWith(p.value) ? s.slice(p.value.length) : s)),
    removesuffix: (s) => fn((p) => new StringValue(p.value && s.endsWith(p.value) ? s.slice(0, -p.value.length) : s)),
    zfill: (s) => fn((n) => new StringValue(s.padStart(n.value, "0"))),
    splitlines: (s) => fn(() => new ArrayValue(s.replace(/\r?\n$/, "").split(/\r\n|\r|\n/).map((v) => new StringValue(v)))),
  };
  const ARRAY = {
    index: (list) => fn((item) => found(list.findIndex((v) => same(v, item)), str(item, true) + " is not in list")),
    count: (list) => fn((item) => integer(list.filter((v) => same(v, item)).length)),
  };

  class Python extends Interpreter {
    evaluateBlock(statements, environment) {
      let result = "";
      for (const statement of statements) {
        const value = this.evaluate(statement, environment);
        if (STATEMENTS.has(statement.type)) {
          if (value.type === "StringValue") result += value.value;
        } else if (value.type === "UndefinedValue") {
          throw new Error("undefined: " + name(statement));
        } else {
          result += str(value, false);
        }
      }
      return new StringValue(result);
    }

    evaluateMemberExpression(expr, environment) {
      if (!expr.computed && expr.property.type === "Identifier") {
        const object = this.evaluate(expr.object, environment);
        const own = object.type === "StringValue" ? STRING : object instanceof ArrayValue ? ARRAY : {};
        if (Object.hasOwn(own, expr.property.value)) return own[expr.property.value](object.value);
        if (object.type === "UndefinedValue") throw new Error("undefined: " + name(expr.object));
      }
      return super.evaluateMemberExpression(expr, environment);
    }

    applyFilter(operand, filter, environment) {
      if (operand.type === "UndefinedValue" && filter.value !== "default") throw new Error("the filtered value is undefined");
      if (filter.type === "Identifier" && filter.value === "string") return new StringValue(str(operand, false));
      if (filter.type === "Identifier" && filter.value === "list" && operand.type === "StringValue") {
        return new ArrayValue(Array.from(operand.value, (c) => new StringValue(c)));
      }
      if (filter.type === "CallExpression" && filter.callee.value === "regex_replace") {
        const [args, named] = this.evaluateArguments(filter.args, environment);
        const at = (i, key) => args[i] ?? named.get(key);
        const pattern = at(0, "pattern").value.replace(/\(\?P</g, "(?<");
        const to = (at(1, "value")?.value ?? "").replace(/\$/g, "$$$$").replace(/\\(\d)/g, "$$$1").replace(/\\g<(\w+)>/g, "$$<$1>");
        const count = at(2, "count")?.value ?? 0;
        let left = count === 0 ? Infinity : count;
        const whole = new RegExp(pattern, "gu");
        return new StringValue(operand.value.replace(whole, (...found) => (left-- > 0 ? found[0].replace(new RegExp(pattern, "u"), to) : found[0])));
      }
      return super.applyFilter(operand, filter, environment);
    }
  }

  const name = (node) => {
    switch (node.type) {
      case "Identifier": case "StringLiteral": return String(node.value);
      case "MemberExpression": return name(node.object) + (node.computed ? "[…]" : "." + name(node.property));
      default: return node.type;
    }
  };

  const parsed = new Map();
  return function (template, values) {
    let program = parsed.get(template);
    if (program === undefined) {
      // The library drops a last newline, as Jinja2 does unless it is told otherwise.
      program = parse(tokenize(template.endsWith("\n") ? template + "\n" : template, {}));
      parsed.set(template, program);
    }
    const environment = new Environment();
    const names = {true: true, True: true, false: false, False: false, none: null, None: null, ...JSON.parse(values)};
    for (const [key, value] of Object.entries(names)) environment.set(key, value);
    return new Python(environment).run(program).value;
  };
})()
