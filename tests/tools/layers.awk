# layers.awk - reads paths, one a line, and checks each file against the table (layers.table tells its form)

function read_table(    line, n, word, i) {
    while ((getline line < table) > 0) {
        sub(/(^|[ \t])#.*/, "", line)
        n = split(line, word, " ")
        if (n == 0)
            continue
        if (word[1] == "part" && n == 3) {
            prefix[++parts] = word[2]
            part[parts] = word[3]
        } else if (word[1] == "may") {
            known[word[2]] = 1
            for (i = 3; i <= n; i++)
                may[word[2], word[i]] = 1
        } else if (word[1] == "foreign" && n == 3) {
            foreign[++foreigns] = word[2]
            home[foreigns] = word[3]
        } else if (word[1] == "computed") {
            computed[word[2]] = 1
        } else if (word[1] ~ /^core-(include|call|word)$/) {
            for (i = 2; i <= n; i++)
                enter_core_rule(word[1], word[i])
        } else {
            refuse("cannot read in the table: " line)
        }
    }
    if (parts == 0)
        refuse("the table names no parts")
}

function enter_core_rule(kind, word) {
    if (kind == "core-include")
        core_include[word] = 1
    else if (kind == "core-call")
        core_call[word] = 1
    else if (word ~ /\*$/)
        core_prefix[substr(word, 1, length(word) - 1)] = 1
    else
        core_word[word] = 1
}

function refuse(text) {
    print "layers: " text
    refused = 1
    exit 2
}

function breach(text) {
    print file ":" number ": " text
    breaches++
}

function part_of(path,    i) {
    if (path == "roost.h")
        return path
    for (i = 1; i <= parts; i++)
        if (index(path, prefix[i]) == 1)
            return part[i]
    return ""
}

# The line without its comments, and without what stands in quotes unless `keep`. in_comment lasts from line to line.
function code_of(line, keep,    out, i, c, two, quote) {
    if (!in_comment && line !~ /\/\*|\/\// && (keep || line !~ /["']/))
        return line
    out = quote = ""
    for (i = 1; i <= length(line); i++) {
        c = substr(line, i, 1)
        two = substr(line, i, 2)
        if (in_comment) {
            if (two == "*/") {
                in_comment = 0
                out = out " "
                i++
            }
        } else if (quote != "") {
            if (c == "\\") {
                out = out (keep ? two : "")
                i++
            } else if (c == quote) {
                out = out c
                quote = ""
            } else {
                out = out (keep ? c : "")
            }
        } else if (two == "/*") {
            in_comment = 1
            i++
        } else if (two == "//") {
            break
        } else {
            if (c == "\"" || c == "'")
                quote = c
            out = out c
        }
    }
    return out
}

function check_include(code,    name, close_at, to) {
    name = code
    sub(/^[ \t]*#[ \t]*include[ \t]*/, "", name)
    if (name ~ /^[A-Za-z_]/ && file in computed)
        return
    close_at = index(substr(name, 2), name ~ /^</ ? ">" : "\"")
    if (name !~ /^[<"]/ || close_at < 2) {
        breach("an include that cannot be read: " code)
        return
    }
    includes++
    if (name ~ /^</) {
        check_system_include(substr(name, 2, close_at - 1))
        return
    }
    name = substr(name, 2, close_at - 1)
    to = part_of(name)
    if (to == "" || index(name, "..") > 0)
        breach("\"" name "\" is not rooted at the top of the tree")
    else if (to != from && to != "roost.h" && !((from, to) in may) && !((from, "*") in may))
        breach(from " may not include " to " (\"" name "\")")
}

function check_system_include(name,    i) {
    for (i = 1; i <= foreigns; i++) {
        if ((foreign[i] == name || (foreign[i] ~ /\/$/ && index(name, foreign[i]) == 1)) && home[i] != from) {
            breach("only " home[i] " may include <" name ">")
            return
        }
    }
    if (is_core && name != "roost.h" && !(name in core_include))
        breach("a core may not include <" name ">")
}

# `code` has no comments and no quoted text. Words are replaced as they are checked; what stays are the numbers.
function check_core(code,    word, before, after, at, p) {
    while (match(code, /[A-Za-z_][A-Za-z_0-9]*/)) {
        at = RSTART
        word = substr(code, at, RLENGTH)
        before = at > 1 ? substr(code, at - 1, 1) : " "
        after = substr(code, at + RLENGTH)
        if (before ~ /[0-9.]/ && substr(code, 1, at - 1) ~ /(^|[^@0-9])[0-9]+\.?$/) {
            # what follows a digit is a suffix, the x of 0x10, or an exponent, which makes it floating
            code = substr(code, 1, at - 1) (word ~ /^[eE][0-9]*[fFlL]?$/ ? "~" : "") after
            continue
        }
        code = substr(code, 1, at - 1) "@" after
        if (word in core_word)
            breach("a core may not use " word)
        else if (word in core_call && after ~ /^[ \t]*\(/ && before != "." && substr(code, 1, at - 1) !~ /->[ \t]*$/)
            breach("a core may not call " word "()")
        for (p in core_prefix)
            if (index(word, p) == 1)
                breach("a core may not use " word)
    }
    if (code ~ /(^|[^@0-9.])([0-9]+\.|\.[0-9]|[0-9]+~)/)
        breach("a core may not use floating-point numbers")
}

function check_line(raw,    was_in_comment, code) {
    was_in_comment = in_comment
    code = code_of(raw, 1)
    if (code ~ /^[ \t]*#[ \t]*include/) {
        check_include(code)
    } else if (is_core) {
        if (code ~ /"[^"]*%[-0-9]*p/)
            breach("a core may not print an address (%p)")
        in_comment = was_in_comment
        check_core(code_of(raw, 0))
    }
}

BEGIN { read_table() }

{
    file = $0
    number = 0
    in_comment = 0
    from = part_of(file)
    is_core = file ~ /(^|\/)core\//
    files++
    if (!(from in known)) {
        breach("belongs to no part of the table")
        next
    }
    while ((getline raw < file) > 0) {
        number++
        check_line(raw)
    }
    close(file)
}

END {
    if (refused)
        exit 2
    print files + 0 " files, " includes + 0 " includes, " breaches + 0 " breaches"
    if (files == 0)
        exit 2
    exit breaches > 0
}
