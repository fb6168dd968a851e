/* check_print.c - what `check` found, for people and for programs. */
#include "app/check/check_print.h"

static const char *const severities[] = {
    [TG_SEVERITY_ERROR] = "error",
    [TG_SEVERITY_WARNING] = "warning",
};

static void print_finding(FILE *out, const struct tg_check *check, const struct tg_finding *finding)
{
    fprintf(out, "%s", finding->file[0] != '\0' ? finding->file : check->policy);
    if (finding->line > 0)
        fprintf(out, ":%d", finding->line);
    if (finding->line > 0 && finding->column > 0)
        fprintf(out, ":%d", finding->column);
    fprintf(out, ": %s: %s [%s]\n", severities[finding->severity], finding->message, finding->code);
    if (finding->hint[0] != '\0')
        fprintf(out, "    %s\n", finding->hint);
}

static void print_names(FILE *out, const char *title, const struct tg_check_names *names)
{
    fprintf(out, "%s: ", title);
    for (size_t i = 0; i < names->count; i++)
        fprintf(out, "%s%s", i == 0 ? "" : ", ", names->names[i]);
    fprintf(out, "%s\n", names->count == 0 ? "none" : "");
}

void tg_check_print_text(FILE *out, const struct tg_check *check, bool verbose)
{
    size_t errors = check->findings.errors, warnings = check->findings.warnings;

    for (size_t i = 0; i < check->findings.count; i++)
        print_finding(out, check, &check->findings.rows[i]);
    if (verbose)
        print_names(out, "files", &check->files);
    if (errors > 0) {
        fprintf(out, "%s: %zu error%s, %zu warning%s\n", check->policy, errors,
                errors == 1 ? "" : "s", warnings, warnings == 1 ? "" : "s");
        return;
    }
    fprintf(out, "%s: ok", check->policy);
    if (warnings > 0)
        fprintf(out, ", with %zu warning%s", warnings, warnings == 1 ? "" : "s");
    fprintf(out, "\nversion: %s\n", check->version);
    print_names(out, "hooks", &check->hooks);
    print_names(out, "agents", &check->agents);
    if (check->services.count > 0)
        print_names(out, "services", &check->services);
}

static void write_names(struct tg_json_writer *w, const char *key,
                        const struct tg_check_names *names)
{
    tg_json_key(w, key);
    tg_json_begin_array(w);
    for (size_t i = 0; i < names->count; i++)
        tg_json_str(w, names->names[i]);
    tg_json_end_array(w);
}

static void write_number(struct tg_json_writer *w, const char *key, int number)
{
    tg_json_key(w, key);
    if (number > 0)
        tg_json_int(w, number);
    else
        tg_json_null(w);
}

static void write_text(struct tg_json_writer *w, const char *key, const char *text)
{
    tg_json_member_str(w, key, text[0] == '\0' ? NULL : text);
}

static void write_finding(struct tg_json_writer *w, const struct tg_check *check,
                          const struct tg_finding *finding)
{
    tg_json_begin_object(w);
    tg_json_member_str(w, "severity", severities[finding->severity]);
    tg_json_member_str(w, "code", finding->code);
    write_text(w, "file", finding->file[0] != '\0' ? finding->file : check->policy);
    write_number(w, "line", finding->line);
    write_number(w, "column", finding->column);
    tg_json_member_str(w, "message", finding->message);
    write_text(w, "hint", finding->hint);
    tg_json_end_object(w);
}

void tg_check_print_json(struct tg_json_writer *w, const struct tg_check *check, bool luacheck,
                         bool strict)
{
    tg_json_begin_object(w);
    tg_json_member_str(w, "policy", check->policy);
    tg_json_member_bool(w, "ok", tg_check_passed(check, strict));
    write_text(w, "version", check->version);
    write_names(w, "hooks", &check->hooks);
    write_names(w, "agents", &check->agents);
    write_names(w, "services", &check->services);
    write_names(w, "files", &check->files);
    tg_json_member_bool(w, "luacheck", luacheck);
    tg_json_key(w, "findings");
    tg_json_begin_array(w);
    for (size_t i = 0; i < check->findings.count; i++)
        write_finding(w, check, &check->findings.rows[i]);
    tg_json_end_array(w);
    tg_json_end_object(w);
}

bool tg_check_passed(const struct tg_check *check, bool strict)
{
    return check->findings.errors == 0 && (!strict || check->findings.warnings == 0);
}
