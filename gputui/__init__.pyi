from gputui.model.errors import GputuiError as GputuiError
from gputui.sdk import GPU as GPU
from gputui.sdk import Job as Job
from gputui.sdk_async import AsyncGPU as AsyncGPU
from gputui.sdk_async import AsyncJob as AsyncJob
from gputui.sdk_types import MachineInfo as MachineInfo
from gputui.sdk_types import OfferInfo as OfferInfo
from gputui.sdk_types import Price as Price
from gputui.sdk_types import Route as Route

__version__: str
