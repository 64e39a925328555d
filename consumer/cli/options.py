"""Options that several commands of the administration take."""

import click

from schemas.console.output import Output
from schemas.console.output import output_option as _output_option

output_option = _output_option(Output.TABLE, Output.JSON)
tenant_option = click.option(
    "--tenant", metavar="T", default="default", show_default=True, help="The tenant of the requesters."
)
tenant_filter = click.option("--tenant", metavar="T", help="Only those of this tenant.  [default: all]")
tenant_of_name = click.option(
    "--tenant", metavar="T", help="The tenant, where a name needs it.  [default: the tenant 'default']"
)
row_argument = click.argument("row", metavar="ID|NAME")
