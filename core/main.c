/* main.c - the command line becomes a command. */
#include "app/commands.h"

int main(int argc, char **argv)
{
    return tg_app_main(argc, argv);
}
