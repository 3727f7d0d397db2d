"""What waits for a person."""

ENTRIES = {
    "person": """
        builtins.input builtins.breakpoint pdb ipdb pudb getpass.getpass code.interact IPython.embed
        click.prompt click.confirm click.pause click.edit click.getchar typer.prompt typer.confirm
        rich.prompt questionary inquirer InquirerPy prompt_toolkit tkinter easygui pyautogui
    """,
}
