/* policy_check_internal.h - what the files that look at a policy's table share. */
#ifndef TG_SCRIPT_POLICY_CHECK_INTERNAL_H
#define TG_SCRIPT_POLICY_CHECK_INTERNAL_H

struct lua_State;
struct tg_generation;
struct tg_mistakes;

#define TG__PLACE_SIZE 256

struct tg_policy_look {
    struct lua_State *L;
    int policy; /* index of the table */
    struct tg_generation *generation;
    struct tg_mistakes *mistakes;
    char place[TG__PLACE_SIZE]; /* of what is looked at: "policy.lua:12" */
};

/* Where the entry file sets the key ("agents", "agents.echo"); NULL: the file. Valid until the next. */
const char *tg__policy_place(struct tg_policy_look *look, const char *key);

void tg__policy_take_agents(struct tg_policy_look *look);
/* After the hooks: what they say is a part of `prepare`. */
void tg__policy_take_services(struct tg_policy_look *look);

#endif
