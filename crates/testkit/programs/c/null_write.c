/* Writes to a member, 0x28 bytes into a structure that is not there. */
#include "chain.h"

struct session {
    char user[40];
    int state;
};

NOINLINE void set_state(volatile struct session *session, int state)
{
    session->state = state; /* CRASH */
}

NOINLINE int login(struct session *session, int user)
{
    set_state(session, user);
    return user + 1;
}

NOINLINE int handle_request(int user)
{
    return login(0, user) + 1;
}

int main(int argc, char **argv)
{
    (void)argv;
    return handle_request(argc) + 1;
}
